"""Several scorers as one: the mean of their scores, each in its own standard deviations over the explanations of a site."""

from collections.abc import Mapping, Sequence

import numpy as np

from analyzers.errors import Failed
from evals.scorers import Scorer
from evals.scores import constant

ENSEMBLE = "ensemble"
"""In the place of a scorer's name."""
Score = float | Failed


def members(scorers: Mapping[str, Scorer]) -> list[str]:
    """Those scorers that an ensemble is made of."""
    return [name for name, scorer in scorers.items() if scorer.role != "apart"]


def combine(scores: Mapping[str, Sequence[Score]]) -> list[Score]:
    """[explanation] mean over scorers of (score - mean) / standard deviation, both over the explanations that the scorer did score.

    scores: by scorer, [explanation] of one site. A scorer that scores all alike adds 0 to each. A failed score is left out; Failed where
    more than half of the scorers failed.
    """
    lengths = {len(row) for row in scores.values()}
    if len(lengths) != 1:
        raise ValueError(f"an ensemble needs scorers that scored the same explanations; they scored {sorted(lengths) or 'none'}")
    rows = [_standardised(row) for row in scores.values()]
    return [_mean(list(scores), column) for column in zip(*rows, strict=True)]


def _standardised(row: Sequence[Score]) -> list[Score]:
    values = np.array([score for score in row if not isinstance(score, Failed)], np.float64)
    if not values.size:
        return list(row)
    if constant(values):
        return [score if isinstance(score, Failed) else 0.0 for score in row]
    centre, scale = float(values.mean()), float(values.std())
    return [score if isinstance(score, Failed) else (score - centre) / scale for score in row]


def _mean(names: Sequence[str], column: Sequence[Score]) -> Score:
    values = [score for score in column if not isinstance(score, Failed)]
    lost = len(column) - len(values)
    if 2 * lost > len(column):
        reasons = [f"{name}: {score.reason}" for name, score in zip(names, column, strict=True) if isinstance(score, Failed)]
        return Failed("score", f"{lost} of {len(column)} scorers failed: {reasons[0]}")
    return float(np.mean(values))
