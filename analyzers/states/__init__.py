"""Hidden states of every layer at spans of texts, read once and kept on disk, for all that is probed in them."""

__all__: list[str] = []
