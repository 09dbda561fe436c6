"""What edits of a model's facts do to what it says: of the fact, of what follows from it, and of all else. Import from its files."""

__all__: list[str] = []
