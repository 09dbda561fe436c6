"""What a model's attention does: reading and changing it, and what follows from it alone. Import from its files."""

__all__: list[str] = []
