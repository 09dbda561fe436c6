"""Texts of like length together in one forward pass, padded on the right."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BATCH_TOKENS = 2048
"""Tokens, padding included, in one forward pass."""


def like_lengths(lengths: Sequence[int], most: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Numbers of the texts that go into one batch, longest first, each batch within `most` tokens or of one text."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > most:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def padded(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """(ids, mask), each [text, pos]."""
    longest = max(map(len, texts))
    ids = torch.tensor([[*text, *([0] * (longest - len(text)))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return ids, mask
