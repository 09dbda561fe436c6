"""Many texts that begin alike as one row of tokens: every token stands once for all texts that share it and what is before it.

The row is a prefix tree, written out depth first. A token has the position that it has in its text, and attends to the tokens before it
in that text alone, so a model computes for it what it would compute for the text by itself. Texts that differ by one word cost only what
comes after that word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Branches:
    """One row of tokens, and where in it the texts are."""

    ids: Ids
    """[pos] token"""
    depth: Ids
    """[pos] how many tokens of the same text are before it."""
    parent: Ids
    """[pos] place of the token before it in its text; -1 for a first token."""
    paths: tuple[Ids, ...]
    """[text][pos in the text] place in the row."""

    @property
    def visible(self) -> npt.NDArray[np.bool_]:
        """[pos, pos] whether the token in a row sees that in a column: itself and those before it in its text."""
        seen = np.eye(len(self.ids), dtype=np.bool_)
        for place, parent in enumerate(self.parent.tolist()):
            if parent >= 0:
                seen[place] |= seen[parent]
        return seen


def branches(texts: Sequence[Sequence[int]]) -> Branches:
    """The tree of texts, which are not empty; equal texts have equal paths."""
    ids: list[int] = []
    depth: list[int] = []
    parent: list[int] = []
    paths: list[Ids] = [np.empty(0, np.int64)] * len(texts)
    before: list[int] = []
    last: Sequence[int] = ()
    # Sorted, so that texts with a common beginning are neighbours.
    for number in sorted(range(len(texts)), key=lambda number: tuple(texts[number])):
        text = texts[number]
        common = shared(last, text)
        path = before[:common]
        for at in range(common, len(text)):
            ids.append(text[at])
            depth.append(at)
            parent.append(path[-1] if path else -1)
            path.append(len(ids) - 1)
        paths[number] = np.array(path, np.int64)
        last, before = text, path
    return Branches(np.array(ids, np.int64), np.array(depth, np.int64), np.array(parent, np.int64), tuple(paths))


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common from the start."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def rows(texts: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Numbers of the texts that go into one row of at most that many tokens, each text once.

    A longer text has a row of its own, with its equals.
    """
    row: list[int] = []
    size = 0
    last: Sequence[int] = ()
    for number in sorted(range(len(texts)), key=lambda number: tuple(texts[number])):
        text = texts[number]
        new = len(text) - (shared(last, text) if row else 0)
        if row and new and size + new > most:
            yield row
            row, size, new = [], 0, len(text)
        row.append(number)
        size += new
        last = text
    if row:
        yield row
