"""How far two explanations of one item agree: the measures of Krishna et al. 2022 (arXiv 2202.01602), and the overlap of Huang et al. 2023.

Rank correlation and pairwise rank agreement compare all units; the others compare the k units that come first, k a fifth of the units and
at least one. Which come first is a fork in the literature: by absolute value (Krishna et al., OpenXAI) or by support for the prediction,
so the caller says. Ties in what comes first are broken by draws, for each explanation its own, and the measures averaged over them: most
units of a short text have no effect at all, and broken alike they would make any two explanations agree. The measures of all units do not
depend on how ties are broken, and what they have by chance is known without draws.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from analyzers.errors import Failed
from evals.scores import Floats, Indices

SHARE = 0.2
DRAWS = 100
"""Of the order of ties, and of the units of the one explanation for chance."""
_FIRST = (
    "feature_agreement",
    "rank_agreement",
    "sign_agreement",
    "signed_rank_agreement",
    "intersection_over_union",
)
"""Of the units that come first."""
MEASURES = (*_FIRST, "rank_correlation", "pairwise_rank_agreement")


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
    others = np.tile(b, (DRAWS, 1))
    found = _measures(np.tile(a, (DRAWS, 1)), others, by_size, rng)
    chance = _measures(rng.permuted(np.tile(a, (DRAWS, 1)), axis=1), others, by_size, rng)
    return {
        **{name: (value, random) for name, value, random in zip(_FIRST, found, chance, strict=True)},
        # In random places every value stands beside every other one as often.
        "rank_correlation": (_rank_correlation(a, b), 0.0),
        "pairwise_rank_agreement": (_pairwise(a, b), _pairwise_by_chance(a, b)),
    }


def _measures(a: Floats, b: Floats, by_size: bool, rng: np.random.Generator) -> list[float]:
    """Means over draws of the measures of what comes first, of attributions [draw, unit]."""
    k = max(1, int(SHARE * a.shape[1]))
    first, second = (_first(values, k, by_size, rng) for values in (a, b))
    common = _among(first, a.shape) & _among(second, a.shape)
    same_sign = np.sign(a) == np.sign(b)
    placed = first == second
    overlap = common.sum(axis=1)
    return [
        float((overlap / k).mean()),
        float(placed.mean()),
        float(((common & same_sign).sum(axis=1) / k).mean()),
        float((placed & np.take_along_axis(same_sign, first, axis=1)).mean()),
        float((overlap / (2 * k - overlap)).mean()),
    ]


def _rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, of attributions [unit]."""
    x, y = (ranks - ranks.mean() for ranks in (rankdata(a), rankdata(b)))
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _pairwise(a: Floats, b: Floats) -> float:
    """Share of the pairs of units that both put in the same order, or both in none."""
    # Row by row: all pairs of a long text at once would take gigabytes.
    alike = sum(np.count_nonzero(np.sign(a[at] - a[at + 1 :]) == np.sign(b[at] - b[at + 1 :])) for at in range(len(a) - 1))
    return float(alike / (len(a) * (len(a) - 1) / 2))


def _pairwise_by_chance(a: Floats, b: Floats) -> float:
    """The same on average over all orders of the one: a pair is tied in both, or in neither and in the same order half of the time."""
    tied, other = (_tied(values) for values in (a, b))
    return tied * other + (1 - tied) * (1 - other) / 2


def _tied(values: Floats) -> float:
    """Share of the pairs of units that have one value."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum() / (len(values) * (len(values) - 1)))


def _first(values: Floats, k: int, by_size: bool, rng: np.random.Generator) -> Indices:
    """[draw, place] the units that come first, ties in an order of their own in every draw."""
    keys = np.abs(values) if by_size else values
    # The last key counts first.
    return np.lexsort((rng.random(keys.shape), -keys), axis=1)[:, :k]


def _among(first: Indices, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """[draw, unit] whether it is one of those."""
    mask = np.zeros(shape, np.bool_)
    np.put_along_axis(mask, first, True, axis=1)
    return mask
