"""How far two explanations of one item agree: the measures of Krishna et al. 2022 (arXiv 2202.01602), and the overlap of Huang et al. 2023.

Rank correlation and pairwise rank agreement compare all units; the others compare the k units that come first, k a fifth of the units and
at least one. Which come first is a fork in the literature: by absolute value (Krishna et al., OpenXAI) or by support for the prediction,
so the caller says. Ties are broken by draws, for each explanation its own, and the measures averaged over them: most units of a short
text have no effect at all, and broken alike they would make any two explanations agree.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from analyzers.errors import Failed
from evals.scores import Floats

SHARE = 0.2
DRAWS = 100
"""Of the order of ties, and of the units of the one explanation for chance."""
MEASURES = (
    "feature_agreement",
    "rank_agreement",
    "sign_agreement",
    "signed_rank_agreement",
    "intersection_over_union",
    "rank_correlation",
    "pairwise_rank_agreement",
)


def agreement(
    one: Sequence[float], other: Sequence[float], *, by_size: bool, rng: np.random.Generator
) -> dict[str, tuple[float, float] | Failed]:
    """All seven for attributions [unit] of the same units, each with what the one has on average with its units in random places.

    by_size: the first units are those of the largest absolute value. Signs agree where both are positive, both negative, or both zero.
    Failed where an explanation gives all units one value: then nothing comes first.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return dict.fromkeys(MEASURES, Failed("score", "all attributions are equal"))
    found = np.mean([_measures(a, b, by_size, rng) for _ in range(DRAWS)], axis=0)
    chance = np.mean([_measures(rng.permutation(a), b, by_size, rng) for _ in range(DRAWS)], axis=0)
    return dict(zip(MEASURES, zip(found.tolist(), chance.tolist(), strict=True), strict=True))


def _measures(a: Floats, b: Floats, by_size: bool, rng: np.random.Generator) -> list[float]:
    k = max(1, int(SHARE * len(a)))
    first, second = (_first(values, k, by_size, rng) for values in (a, b))
    common = set(first) & set(second)
    signed = {unit for unit in common if np.sign(a[unit]) == np.sign(b[unit])}
    placed = {unit for unit, there in zip(first, second, strict=True) if unit == there}
    above = np.triu_indices(len(a), 1)
    alike = np.sign(a[above[0]] - a[above[1]]) == np.sign(b[above[0]] - b[above[1]])
    return [
        len(common) / k,
        len(placed) / k,
        len(signed) / k,
        len(placed & signed) / k,
        len(common) / len(set(first) | set(second)),
        float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]),
        float(alike.mean()),
    ]


def _first(values: Floats, k: int, by_size: bool, rng: np.random.Generator) -> list[int]:
    keys = np.abs(values) if by_size else values
    # The last key counts first.
    order = np.lexsort((rng.permutation(len(keys)), -keys))
    first: list[int] = order[:k].tolist()
    return first
