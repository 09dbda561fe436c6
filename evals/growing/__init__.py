"""What checkpoints of one training know, how it grew, and in which order. Import from its files."""

__all__: list[str] = []
