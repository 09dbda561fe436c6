"""How many bits the labels take to send when the receiver has the states: online code of Voita & Titov 2020 (arXiv 2003.12298).

The labels are sent in blocks; each block is coded by a probe that was trained on all blocks before it, the first by a uniform code. The
code is short where few examples suffice to learn the labels, so that it says how easily they are read, and not only whether they can be.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from analyzers.probes.classifiers import Classes, Classifier, Floats, Kind, fit

SHARES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25, 12.5, 25, 50, 100)
"""Percentage of the rows that has been sent after each block, as in the paper."""


def online_code(
    kind: Kind,
    x: Floats,
    y: Classes,
    *,
    classes: int,
    seed: int = 0,
    strength: float = 1.0,
    train: Callable[[Floats, Classes], Classifier] | None = None,
) -> Floats:
    """Bits [row] that each label costs, of states [row, width] in the order in which they are sent.

    A block never begins before the second row; rows of too small shares fall into the next block. train replaces the fit of a probe.
    """

    def fitted(states: Floats, labels: Classes) -> Classifier:
        return fit(kind, states, labels, classes=classes, seed=seed, strength=strength)

    train = train or fitted
    ends = block_ends(len(y))
    bits = np.full(len(y), np.log2(classes))
    for start, end in pairwise(ends):
        found = train(x[:start], y[:start]).log_probabilities(x[start:end])
        bits[start:end] = -found[np.arange(end - start), y[start:end]] / np.log(2)
    return bits


def block_ends(rows: int) -> list[int]:
    """Rows that have been sent after each block: those of SHARES, without blocks that would be empty."""
    return sorted({max(1, round(share * rows / 100)) for share in SHARES})
