"""Many logistic regressions on the same states at once, each on rows and labels of its own.

Every step solves with a bound of the Hessian in its place, a quarter of the products of features (Böhning and Lindsay, 1988, Annals of
the Institute of Statistical Mathematics 40), so that one inverse serves all steps and no loss ever rises. Products are summed once for
rows that go together everywhere, and each pass over the states serves all: leaving out one topic after another costs little more than
training once.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]
_Array = npt.NDArray[np.float64]

STEPS = 500
MOVED = 1e-3
"""Log-odds of a training row by which the last step may move it."""
LEAST = 1e-6
"""Deviation, as a share of the size of a feature, below which it is rounding."""
_CELLS = 50_000_000
"""Of matrices that are held at once."""


def regressions(x: Floats, y: Flags, rows: Flags, c: Floats) -> tuple[_Array, _Array, _Array, _Array]:
    """(weights [fit, width], intercepts [fit], means [fit, width], deviations [fit, width]).

    x [row, width]; y [fit, row] labels; rows [fit, row] those that each is trained on, some of both labels, by whose means and deviations
    the states are standardised for it; c [fit] inverse strength of the penalty on the weights, as in scikit-learn.
    """
    centre = np.mean(x, 0, dtype=np.float64)
    wide = np.asarray(x, np.float64) - centre
    most = max(1, _CELLS // wide.shape[1] ** 2)
    parts = [_trained(wide, y[at : at + most], rows[at : at + most], c[at : at + most]) for at in range(0, len(rows), most)]
    weights, intercepts, means, scales = (np.concatenate(each) for each in zip(*parts, strict=True))
    return weights, intercepts, means + centre, scales


def _trained(wide: _Array, y: Flags, rows: Flags, c: Floats) -> tuple[_Array, _Array, _Array, _Array]:
    """As `regressions`, of states about 0."""
    from scipy.special import expit

    kept, targets, counts = rows.T.astype(np.float64), y.T.astype(np.float64), rows.sum(1)
    means, scales = np.empty((2, len(rows), wide.shape[1]))
    alike: list[tuple[npt.NDArray[np.intp], _Array]] = []
    found, which = np.unique(np.column_stack([rows, c]), axis=0, return_inverse=True)
    for number, gram in enumerate(_grams(wide, found[:, :-1] > 0)):
        own = np.flatnonzero(which.ravel() == number)
        n, strength = counts[own[0]], c[own[0]]
        mean, square = kept[:, own[0]] @ wide / n, np.diagonal(gram) / n
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        scale = np.where(scale > LEAST * np.sqrt(square), scale, 1.0)
        bound = (gram - n * np.outer(mean, mean)) / np.outer(scale, scale) / 4 + np.eye(len(gram)) / strength
        means[own], scales[own] = mean, scale
        alike.append((own, np.linalg.inv(bound)))
    weights, intercepts, odds = np.zeros_like(means), np.zeros(len(rows)), np.zeros(kept.shape)
    going = np.ones(len(rows), np.bool_)
    for _ in range(STEPS):
        wrong = kept * (expit(odds) - targets)
        slopes = (wrong.T @ wide - wrong.sum(0)[:, None] * means) / scales + weights / c[:, None]
        for own, inverse in alike:
            weights[own] -= going[own, None] * (slopes[own] @ inverse)
        intercepts -= going * wrong.sum(0) / (counts / 4)
        slanted = weights / scales
        before, odds = odds, wide @ slanted.T + (intercepts - (slanted * means).sum(1))
        # Each stops by itself, so that none depends on which others are trained beside it.
        going = going & ((kept * np.abs(odds - before)).max(0) > MOVED)
        if not going.any():
            break
    return weights, intercepts, means, scales


def _grams(wide: _Array, rows: Flags) -> _Array:
    """[fit, width, width] products of features, summed over the rows [fit, row] of each."""
    patterns, which = np.unique(rows, axis=1, return_inverse=True)
    found = np.zeros((len(rows), wide.shape[1], wide.shape[1]))
    for number, pattern in enumerate(patterns.T):
        own = wide[which.ravel() == number]
        found[pattern] += own.T @ own
    return found
