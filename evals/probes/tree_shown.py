"""Test sentences whose trees are shown: the best, the middle and the worst, and some drawn by seed."""

from collections.abc import Sequence

import numpy as np

from evals.probes.tree import Predicted
from evals.probes.tree_material import Readable
from evals.probes.tree_results import DrawnTree, Why

WORDS = (6, 24)
"""Fewest and most of a sentence that is shown."""
EDGES = 4
"""Fewest of such a sentence."""
DRAWN = 3
"""Drawn by seed alone."""


def shown_trees(ready: Readable, predicted: Sequence[Predicted], *, seed: int) -> list[DrawnTree]:
    """The best, median and worst by share of edges found, equal ones in an order drawn by seed, then others in that order.

    predicted: [test sentence]. None where no sentence is of a size that can be read.
    """
    test = ready.split.test.tolist()
    golds = [ready.forest.edges_of(sentence) for sentence in test]
    sizes = ready.forest.lengths[ready.split.test].tolist()
    order = [
        place
        for place in np.random.default_rng([seed, 2]).permutation(len(test)).tolist()
        if WORDS[0] <= sizes[place] <= WORDS[1] and len(golds[place]) >= EDGES
    ]
    by_share = sorted(order, key=lambda place: -len(golds[place] & predicted[place].edges) / len(golds[place]))
    whys: tuple[Why, ...] = ("best", "median", "worst", "drawn")
    chosen: dict[int, Why] = {}
    if by_share:
        for why, place in zip(whys, (by_share[0], by_share[len(by_share) // 2], by_share[-1]), strict=False):
            chosen.setdefault(place, why)
    chosen |= dict.fromkeys([place for place in order if place not in chosen][:DRAWN], whys[-1])
    return [_shown(ready, test[place], why, golds[place], predicted[place]) for place, why in chosen.items()]


def _shown(ready: Readable, sentence: int, why: Why, gold: set[tuple[int, int]], predicted: Predicted) -> DrawnTree:
    told, words = ready.sentences[sentence], ready.forest.words(sentence)
    return DrawnTree(
        id=told.id,
        why=why,
        words=[word.form for word in told.words],
        punctuation=(~ready.forest.keep[words]).tolist(),
        gold=sorted(gold),
        predicted=sorted(predicted.edges),
        root=int(np.flatnonzero(ready.forest.heads[words] == 0)[0]),
        predicted_root=predicted.root,
    )
