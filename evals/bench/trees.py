"""Training the structural probe of one layer, of distances and of depths, on 2,000 random sentences whose states have their trees."""

import time
from typing import Any

import numpy as np

from analyzers.probes.trees import Forest, Ints
from evals.probes.tree import States, fit_layer
from evals.probes.tree_config import RANK
from evals.probes.tree_material import Split

SENTENCES = 2_000
"""That train, a tenth of them held out."""
TESTS = 200
WORDS = (3, 30)
"""Fewest and most of a sentence."""
WIDTH = 576
"""Of the states of smollm2-135m."""
NOISE = 0.1


def main() -> dict[str, Any]:
    """Seconds and epochs, and the share of the test sentences' edges that was found."""
    forest = _forest(np.random.default_rng(0), SENTENCES + TESTS)
    states = _states(np.random.default_rng(1), forest)
    train, held_out, test = np.split(np.arange(len(forest)), [SENTENCES - SENTENCES // 10, SENTENCES])
    began = time.perf_counter()
    fitted = fit_layer(0, states, forest, Split(train, held_out, test), rank=RANK, seed=0)
    return {
        "sentences": SENTENCES,
        "words": int(forest.starts[SENTENCES]),
        "width": WIDTH,
        "rank": RANK,
        "seconds": round(time.perf_counter() - began, 1),
        "epochs": {"distance": len(fitted.distance.losses), "depth": len(fitted.depth.losses)},
        "uuas": round(float(fitted.test.correct.sum() / fitted.test.edges.sum()), 3),
    }


def _forest(rng: np.random.Generator, count: int) -> Forest:
    """Random trees, every word a child of a random one of those before it in a random order."""
    heads = []
    for _ in range(count):
        order = rng.permutation(rng.integers(WORDS[0], WORDS[1] + 1))
        own = np.zeros(len(order), int)
        for place in range(1, len(order)):
            own[order[place]] = order[rng.integers(place)] + 1
        heads.append(own.tolist())
    return Forest.of(heads, [[False] * len(own) for own in heads])


def _states(rng: np.random.Generator, forest: Forest) -> States:
    """A direction for each word of a sentence, in the states of all that hang below it and its own, with noise."""
    directions = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][: WORDS[1]]
    states = NOISE * rng.standard_normal((len(forest.heads), WIDTH))
    for sentence in range(len(forest)):
        heads: Ints = forest.heads[forest.words(sentence)]
        for word in range(len(heads)):
            at = word
            while heads[at]:
                states[forest.starts[sentence] + word] += directions[at]
                at = heads[at] - 1
    return states.astype(np.float32)
