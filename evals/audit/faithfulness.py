"""How faithful a ranking of an item's units is to what removing units does: the formulas, for one item.

f is the probability of the label that the model predicts on the whole item, so every formula is signed for the predicted class. The
ranking has the units that speak most for that label first; x_-l is the item without the first l of its n units, x_l has only those.

comprehensiveness   mean over l = 0..n of f(x) - f(x_-l): high where the first units carry the prediction
sufficiency         mean over l = 0..n of f(x) - f(x_l): low where they are enough for it
df_mit              1 where the model answers another label without the first unit, else 0
df_frac             smallest l / n at which it answers another label, 1 where it never does: low is good
deletion_rank       Spearman correlation of the attributions with f(x) - f(x without that unit)
aopc                mean over l = 1..n of f(x) - f(x_-l), the area over the perturbation curve: comprehensiveness times (n + 1) / n
naopc               where it lies between the least (0) and the most (1) that any known order of the item has; an order's reverse counts
                    as known, since what the one removes the other keeps

Source: Zhou and Shah 2022 (arXiv 2205.08696), as Huang et al. 2023 (arXiv 2310.11207, section 4) use them. What their published code
computes instead is in evals.audit.published. aopc: Samek et al. 2017; naopc: Edin et al. 2024 (arXiv 2408.08137), who search for the
limits, while here they are the best and the worst order found.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from agents.beliefs import Belief
from analyzers.errors import Failed
from analyzers.units import Kept
from evals.scores import Floats

Believes = Callable[[Kept], Belief | Failed]
"""The model's belief about an item of which only these units are kept."""

MetricName = Literal["comprehensiveness", "sufficiency", "df_mit", "df_frac", "deletion_rank", "aopc", "naopc"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
BETTER: Mapping[MetricName, Literal[1, -1]] = MappingProxyType(
    {"comprehensiveness": 1, "sufficiency": -1, "df_mit": 1, "df_frac": -1, "deletion_rank": 1, "aopc": 1, "naopc": 1}
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
class Path:
    """What a model does on a sequence of perturbed texts of one item; each [text]."""

    f: Floats
    """Probability of the label that is predicted on the whole item."""
    flipped: npt.NDArray[np.bool_]
    """Whether the model answers with another label than that."""


@dataclass(frozen=True, eq=False)
class Deletions:
    """What a model does when one unit is taken away; each [unit]."""

    effects: Floats
    """f(x) - f(x without the unit)"""
    flipped: npt.NDArray[np.bool_]


def removed(order: Sequence[int]) -> Iterator[Kept]:
    """The sets of kept units of x_-0, x_-1, ... x_-n."""
    return (frozenset(order[count:]) for count in range(len(order) + 1))


def kept(order: Sequence[int]) -> Iterator[Kept]:
    """The sets of kept units of x_0, x_1, ... x_n."""
    return (frozenset(order[:count]) for count in range(len(order) + 1))


def follow(sets: Iterable[Kept], units: int, believes: Believes) -> Path | Failed:
    """What the model does on these sets of so many units; Failed at the first text that it gave no answer to, the whole item among them."""
    whole = believes(frozenset(range(units)))
    if isinstance(whole, Failed):
        return whole
    if whole.label is None:
        raise ValueError("an item whose own answer is undecided has no prediction to explain")
    f, flipped = [], []
    for some in sets:
        belief = believes(some)
        if isinstance(belief, Failed):
            return belief
        f.append(belief.probabilities[whole.label])
        flipped.append(belief.label not in (whole.label, None))
    return Path(np.array(f), np.array(flipped, np.bool_))


def deletions(units: int, believes: Believes) -> Deletions | Failed:
    """Leave out every unit in turn; Failed where the model gave no answer to one of the texts."""
    everything = frozenset(range(units))
    found = follow((everything - {unit} for unit in range(-1, units)), units, believes)
    return found if isinstance(found, Failed) else Deletions(found.f[0] - found.f[1:], found.flipped[1:])


def comprehensiveness(without: Path) -> float:
    """Of the path along `removed`."""
    return float(np.mean(without.f[0] - without.f))


def sufficiency(only: Path) -> float:
    """Of the path along `kept`."""
    return float(np.mean(only.f[-1] - only.f))


def df_mit(without: Path) -> float:
    """Of the first two steps along `removed`."""
    return float(without.flipped[1])


def df_frac(without: Path) -> float:
    """Of the path along `removed`."""
    flips = np.flatnonzero(without.flipped)
    return float(flips[0] / (len(without.flipped) - 1)) if len(flips) else 1.0


def deletion_rank(values: Sequence[float], effects: Floats) -> float | Failed:
    """Failed where all values or all effects are equal: nothing is ranked."""
    for what, numbers in (("attributions", np.asarray(values)), ("effects of the deletions", effects)):
        if np.ptp(numbers) == 0:
            return Failed("score", f"all {what} are equal")
    return float(spearmanr(values, effects).statistic)


def measure(ranking: Ranking, believes: Believes, single: Deletions | Failed) -> dict[MetricName, float | Failed]:
    """All but `naopc` (see `normalised`) of one explanation of one item; `single` as `deletions` gives it.

    An explanation that gives all units one value is a random order, and Failed for deletion_rank.
    """
    units, order = len(ranking.order), ranking.order
    without, only = (follow(sets, units, believes) for sets in (removed(order), kept(order)))
    first = follow(islice(removed(order), 2), units, believes)
    return {
        "comprehensiveness": without if isinstance(without, Failed) else comprehensiveness(without),
        "sufficiency": only if isinstance(only, Failed) else sufficiency(only),
        "df_mit": first if isinstance(first, Failed) else df_mit(first),
        "df_frac": without if isinstance(without, Failed) else df_frac(without),
        "deletion_rank": single if isinstance(single, Failed) else deletion_rank(ranking.values, single.effects),
        "aopc": without if isinstance(without, Failed) else aopc(comprehensiveness(without), units),
    }


def aopc(comprehensive: float, units: int) -> float:
    """From comprehensiveness: without its first term, which is always 0."""
    return comprehensive * (units + 1) / units


def normalised(comprehensive: "float | Floats", known: Sequence[float]) -> "Floats | Failed":
    """naopc of orders of one item with this comprehensiveness; known: comprehensiveness and sufficiency of all known orders of the item."""
    least, most = min(known), max(known)
    if most == least:
        return Failed("score", "all orders of removal do the same")
    return (np.asarray(comprehensive) - least) / (most - least)
