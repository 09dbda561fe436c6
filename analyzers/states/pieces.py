"""Texts and the spans in them whose hidden states are wanted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from analyzers.tokens import Span

Pool = Literal["mean", "first", "last", "start"]
"""Which tokens a span's state is made of: the mean of those that overlap it, the first or the last of them, or the first token of the
whole input, which an encoder puts before a text to stand for it."""
POOLS: tuple[Pool, ...] = get_args(Pool)


@dataclass(frozen=True)
class Piece:
    """One text with spans of it."""

    text: str
    spans: tuple[Span, ...]
    """Characters, the end not included; each becomes one row of states. They may overlap."""

    @classmethod
    def whole(cls, text: str) -> "Piece":
        """The text with one span over all of it."""
        return cls(text, ((0, len(text)),))


def fingerprint(pieces: Sequence[Piece]) -> str:
    """SHA-256 over all texts and spans in their order."""
    told = hashlib.sha256()
    for piece in pieces:
        told.update(repr((piece.text, piece.spans)).encode("utf-8", "surrogatepass"))
    return told.hexdigest()
