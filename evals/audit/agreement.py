"""How far two explanations of one item agree: the seven measures of Krishna et al. 2022 (arXiv 2202.01602, section 3).

The first five and the last look at the k units that come first, k a fifth of the units and at least one. Which come first is a fork in
the literature: by absolute value (Krishna et al., OpenXAI) or by signed value (the code of Huang et al. 2023), so the caller says.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import spearmanr

from analyzers.errors import Failed

SHARE = 0.2


def agreement(one: Sequence[float], other: Sequence[float], *, by_size: bool) -> dict[str, float | Failed]:
    """All seven for attributions [unit] of the same units; by_size: the first units are those of the largest absolute value.

    Ties are ordered by position. Signs agree where both are positive, both negative, or both zero.
    """
    units = len(one)
    k = max(1, int(SHARE * units))
    tops = [_first(values, k, by_size=by_size) for values in (one, other)]
    common = set(tops[0]) & set(tops[1])
    signed = {unit for unit in common if np.sign(one[unit]) == np.sign(other[unit])}
    placed = {a for a, b in zip(*tops, strict=True) if a == b}
    pairs = list(combinations(range(units), 2))
    alike = sum(np.sign(one[a] - one[b]) == np.sign(other[a] - other[b]) for a, b in pairs)
    constant = np.ptp(one) == 0 or np.ptp(other) == 0
    return {
        "feature_agreement": len(common) / k,
        "rank_agreement": len(placed) / k,
        "sign_agreement": len(signed) / k,
        "signed_rank_agreement": len(placed & signed) / k,
        "rank_correlation": Failed("score", "all attributions are equal") if constant else float(spearmanr(one, other).statistic),
        "pairwise_rank_agreement": float(alike / len(pairs)) if pairs else Failed("score", "one unit alone has no pairs"),
        "intersection_over_union": len(common) / len(set(tops[0]) | set(tops[1])),
    }


def _first(values: Sequence[float], k: int, *, by_size: bool) -> list[int]:
    size = [abs(value) if by_size else value for value in values]
    return sorted(range(len(values)), key=lambda unit: (-size[unit], unit))[:k]
