"""Which training text moved an answer: influence functions by Kronecker-factored curvature. Import from its files."""

__all__: list[str] = []
