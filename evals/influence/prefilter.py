"""A pre-filter by TF-IDF: which passages it leaves to be scored, and how much of a full scan that would have kept."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import CorpusError, ExplicateError, Failed
from evals.influence.baselines import Floats, places, tf_idf
from evals.number_of import number_of

if TYPE_CHECKING:
    from analyzers.influence.passages import Passage
    from analyzers.influence.scoring import Query

SHARES = (0.05, 0.1, 0.25, 0.5)
"""Of all passages, those that a pre-filter leaves."""


def prefiltered(queries: "Sequence[Query]", text: "Sequence[Passage]", most: int | None) -> "list[Passage]":
    """The passages nearest to the queries by TF-IDF, as many for each of them, in their order; all without a number.

    Raises ExplicateError for more than there are.
    """
    if most is None:
        return list(text)
    if most > len(text):
        raise ExplicateError(f"--prefilter {most}: there are {number_of('passage', len(text))}; give fewer, or leave it out to score all")
    near = tf_idf([query.prompt + query.completion for query in queries], [each.text for each in text])
    if isinstance(near, Failed):
        raise CorpusError(f"--prefilter: {near.reason}; leave it out to score all passages")
    # By place, not by nearness: one query that shares many words would leave nothing to the others.
    best = np.min([places(row) for row in near], axis=0)
    order = np.argsort(best, kind="stable")[:most]
    return [text[number] for number in sorted(order.tolist())]


def kept(top: Sequence[int], near: Floats) -> dict[float, list[bool]]:
    """By share of all passages that a pre-filter leaves, which of those at the top of a full scan are among them; near [passage]."""
    order = np.argsort(-near, kind="stable")
    left = {share: set(order[: max(1, round(share * len(near)))].tolist()) for share in SHARES}
    return {share: [place in these for place in top] for share, these in left.items()}
