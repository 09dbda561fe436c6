"""Whether the confidence that a model states holds: how it is measured, and how several replies become one answer with one confidence."""

__all__: list[str] = []
