"""What the hidden states of a model hold, measured beside what knows nothing. Import from its files."""

__all__: list[str] = []
