"""How faithful a ranking of an item's units is to what removing units does: the formulas, for one item.

f is the probability of the label that the model predicts on the whole item, so every formula is signed for the predicted class. The
ranking has the units that speak most for that label first; x_-l is the item without the first l of its n units, x_l has only those.

comprehensiveness   mean over l = 0..n of f(x) - f(x_-l): high where the first units carry the prediction
sufficiency         mean over l = 0..n of f(x) - f(x_l): low where they are enough for it
df_mit              1 where the model answers another label without the first unit, else 0
df_frac             smallest l / n at which it answers another label, 1 where it never does: low is good
deletion_rank       Spearman correlation of the attributions with f(x) - f(x without that unit)

Source: Zhou and Shah 2022 (arXiv 2205.08696), as Huang et al. 2023 (arXiv 2310.11207, section 4) use them. What their published code
computes instead is in evals.audit.published.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from analyzers.errors import Failed
from evals.audit.belief import Belief, Believes, Kept

Floats = npt.NDArray[np.float64]
MetricName = Literal["comprehensiveness", "sufficiency", "df_mit", "df_frac", "deletion_rank"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
BETTER: Mapping[MetricName, Literal[1, -1]] = MappingProxyType(
    {"comprehensiveness": 1, "sufficiency": -1, "df_mit": 1, "df_frac": -1, "deletion_rank": 1}
)
"""1 where a higher value is more faithful, -1 where a lower one is."""


@dataclass(frozen=True)
class Ranking:
    """An explanation of one item as numbers: how much each unit speaks for the predicted label."""

    values: tuple[float, ...]
    """[unit]"""
    order: tuple[int, ...]
    """Units from the most supporting to the least; it says how ties of `values` are broken."""

    @classmethod
    def of(cls, values: Sequence[float], rng: np.random.Generator) -> "Ranking":
        """Ranked by value, ties in an order drawn from `rng`."""
        shuffled = rng.permutation(len(values))
        order = sorted(shuffled.tolist(), key=lambda unit: -values[unit])
        return cls(tuple(float(value) for value in values), tuple(order))


@dataclass(frozen=True, eq=False)
class Curves:
    """What a model does as the units of one ranking are taken away, and as they are put in; each [l], l = 0..n."""

    removed: Floats
    """f(x_-l)"""
    kept: Floats
    """f(x_l)"""
    flipped: npt.NDArray[np.bool_]
    """Whether the model answers x_-l with another label than x."""


@dataclass(frozen=True, eq=False)
class Deletions:
    """What a model does when one unit is taken away; each [unit]."""

    effects: Floats
    """f(x) - f(x without the unit)"""
    flipped: npt.NDArray[np.bool_]


def chain(order: Sequence[int]) -> list[Kept]:
    """The sets of kept units of x_-0, x_-1, ... x_-n; those of x_0 ... x_n are the chain of the reversed order, backwards."""
    return [frozenset(order[removed:]) for removed in range(len(order) + 1)]


def curves(order: Sequence[int], believes: Believes) -> Curves | Failed:
    """Follow one order to its end; Failed where the model gave no answer to one of the texts."""
    removed = _all(believes(kept) for kept in chain(order))
    kept = _all(believes(frozenset(order[:count])) for count in range(len(order) + 1))
    if isinstance(removed, Failed):
        return removed
    if isinstance(kept, Failed):
        return kept
    label = _answered(removed[0])
    return Curves(
        removed=np.array([belief.probabilities[label] for belief in removed]),
        kept=np.array([belief.probabilities[label] for belief in kept]),
        flipped=np.array([belief.label not in (label, None) for belief in removed]),
    )


def deletions(units: int, believes: Believes) -> Deletions | Failed:
    """Leave out every unit in turn; Failed where the model gave no answer to one of the texts."""
    everything = frozenset(range(units))
    found = _all(believes(kept) for kept in [everything, *(everything - {unit} for unit in range(units))])
    if isinstance(found, Failed):
        return found
    whole, *without = found
    label = _answered(whole)
    effects = [whole.probabilities[label] - belief.probabilities[label] for belief in without]
    return Deletions(np.array(effects), np.array([belief.label not in (label, None) for belief in without]))


def _all(beliefs: Iterable[Belief | Failed]) -> list[Belief] | Failed:
    found = []
    for belief in beliefs:
        if isinstance(belief, Failed):
            return belief
        found.append(belief)
    return found


def _answered(whole: Belief) -> str:
    if whole.label is None:
        raise ValueError("an item whose own answer is undecided has no prediction to explain")
    return whole.label


def comprehensiveness(found: Curves) -> float:
    return float(np.mean(found.removed[0] - found.removed))


def sufficiency(found: Curves) -> float:
    return float(np.mean(found.kept[-1] - found.kept))


def df_mit(found: Curves) -> float:
    return float(found.flipped[1])


def df_frac(found: Curves) -> float:
    flips = np.flatnonzero(found.flipped)
    return float(flips[0] / (len(found.flipped) - 1)) if len(flips) else 1.0


def deletion_rank(values: Sequence[float], effects: Floats) -> float | Failed:
    """Failed where all values or all effects are equal: nothing is ranked."""
    for what, numbers in (("attributions", np.asarray(values)), ("effects of the deletions", effects)):
        if np.ptp(numbers) == 0:
            return Failed("score", f"all {what} are equal")
    return float(spearmanr(values, effects).statistic)


_WALKED: Mapping[MetricName, Callable[[Curves], float]] = MappingProxyType(
    {"comprehensiveness": comprehensiveness, "sufficiency": sufficiency, "df_mit": df_mit, "df_frac": df_frac}
)


def measure(ranking: Ranking, believes: Believes) -> dict[MetricName, float | Failed]:
    """All five of one explanation of one item."""
    walked = curves(ranking.order, believes)
    single = deletions(len(ranking.order), believes)
    found: dict[MetricName, float | Failed] = {
        name: walked if isinstance(walked, Failed) else formula(walked) for name, formula in _WALKED.items()
    }
    found["deletion_rank"] = single if isinstance(single, Failed) else deletion_rank(ranking.values, single.effects)
    return found
