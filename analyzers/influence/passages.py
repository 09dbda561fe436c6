"""Training text as a model reads it: every document cut into passages, each of which influence is told of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analyzers.corpus import Document
from analyzers.errors import CorpusError, SubjectError
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel
from analyzers.tokens import Span

READING = "read training text"
LENGTH = 128
"""Tokens of a passage at most, what a decoder reads every text behind included."""
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Passage:
    """What a model reads of a document at once, never having seen the rest."""

    document: str
    """Id"""
    ids: tuple[int, ...]
    """What stands before every text first."""
    span: Span
    """Characters of the document."""
    text: str
    spans: tuple[Span | None, ...]
    """Characters of `text` that each token covers; None for what stands before every text."""


def passages(model: TextModel, documents: Iterable[Document], *, length: int = LENGTH, report: Report = quiet) -> list[Passage]:
    """Every document from its beginning, in stretches of at most `length` tokens; a last stretch of one token is left out.

    Raises CorpusError where less than two passages are left, and SubjectError for more tokens than the model takes or too few.
    """
    if model.limit is not None and length > model.limit:
        raise SubjectError(f"--length {length}: {model.name!r} takes at most {model.limit} tokens; give as many or fewer")
    before = model.around[0]
    found: list[Passage] = []
    room = length - len(before)
    if room < 1:
        raise SubjectError(f"--length {length}: {model.name!r} reads {len(before)} tokens before every text; give more than those")
    for number, document in enumerate(documents):
        report(READING, number, 0)
        read = model.read(document.text)
        own = len(before) if read.ids[: len(before)] == before else 0
        places = [(token, span) for token, span in zip(read.ids[own:], read.spans[own:], strict=True) if span is not None]
        for begin in range(0, len(places), room):
            stretch = places[begin : begin + room]
            if len(stretch) + len(before) < 2 or (len(stretch) == 1 and begin):
                continue
            start, end = stretch[0][1][0], max(span[1] for _, span in stretch)
            spans = tuple((left - start, right - start) for _, (left, right) in stretch)
            ids = (*before, *(token for token, _ in stretch))
            found.append(Passage(document.id, ids, (start, end), document.text[start:end], (*(None for _ in before), *spans)))
    if len(found) < 2:
        raise CorpusError(f"the training text makes {len(found)} passage{'s' * (len(found) != 1)}; influence compares: give at least two")
    return found


def drawn(found: list[Drawn], limit: int | None, seed: int) -> list[Drawn]:
    """`limit` of them at random, in their order; None all."""
    if limit is None or limit >= len(found):
        return found
    chosen: npt.NDArray[np.int64] = np.random.default_rng(seed).choice(len(found), limit, replace=False)
    return [found[number] for number in sorted(chosen.tolist())]
