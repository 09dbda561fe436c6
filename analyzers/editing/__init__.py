"""Changing what a model knows by changing a few of its weights, and taking that back to the bit. Import from its files."""

__all__: list[str] = []
