"""Puts what a model wrote about tokens beside the tokens: by index where the token agrees, else by the order of the tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Row(Generic[T_co]):
    """One written line."""

    index: int | None
    """From 1; None where the model wrote no whole number."""
    token: str
    value: T_co


def _key(token: str) -> str:
    return "".join(token.split()).casefold() or token


def align(rows: Sequence[Row[T]], tokens: Sequence[str]) -> list[T | None]:
    """[token] the value written for each of `tokens` (as they were shown to the model), None where there is none.

    A row counts at its own index if its token is the one there, up to spaces and case, and the first such row wins. The rows that
    are left (the model skipped, repeated or renumbered) are matched to the tokens that are left by the longest common subsequences
    of their texts. What cannot be matched is dropped: it is never moved to a token of another text.
    """
    values: list[T | None] = [None] * len(tokens)
    taken = [False] * len(tokens)
    keys = [_key(token) for token in tokens]
    unplaced: list[Row[T]] = []
    for row in rows:
        at = -1 if row.index is None else row.index - 1
        if 0 <= at < len(tokens) and not taken[at] and _key(row.token) == keys[at]:
            values[at], taken[at] = row.value, True
        else:
            unplaced.append(row)
    free = [i for i in range(len(tokens)) if not taken[i]]
    matcher = SequenceMatcher(a=[_key(row.token) for row in unplaced], b=[keys[i] for i in free], autojunk=False)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            values[free[block.b + offset]] = unplaced[block.a + offset].value
    return values
