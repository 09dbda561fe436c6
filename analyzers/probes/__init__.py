"""Probes: what can be read from hidden states by a classifier or a linear map, and what such a reading is worth. Import from its files."""

__all__: list[str] = []
