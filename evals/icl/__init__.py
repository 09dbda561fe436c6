"""What examples in the context do to a model's answers: tasks, analyses, results. Import from its files."""

__all__: list[str] = []
