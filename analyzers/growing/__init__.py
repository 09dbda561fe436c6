"""Checkpoints of one model in training: where they are, how a small one is trained here, and what each says of tokens."""

__all__: list[str] = []
