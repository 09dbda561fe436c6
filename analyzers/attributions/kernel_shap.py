"""KernelSHAP: Shapley values by weighted least squares over sampled sets, held to sum to v(all) - v(none).

The weight of a set of s of n units is (n - 1) / (C(n, s) s (n - s)). Where all sets fit the budget they are all taken, and the result is
exact. Else the sets of one unit and their complements, which weigh most and pin down every unit, are all taken with the share that is
theirs, and sets of the other sizes are drawn by their shares, each with its complement. Source: Lundberg and Lee 2017 (arXiv 1705.07874),
theorem 2; paired sampling: Covert and Lee 2021.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np

from analyzers.attributions import METHODS, Floats, Kept


@METHODS.add("kernel-shap")
class KernelShap:
    """At most as many sets as it may ask for, but not fewer than pin down every unit."""

    def __init__(self, units: int, most: int, rng: np.random.Generator) -> None:
        self._all = frozenset(range(units))
        self._weights: Mapping[Kept, float]
        if units < 2 or 2**units <= max(most, 4 * units + 2):
            proper = [frozenset(some) for size in range(1, units) for some in combinations(range(units), size)]
            self._weights = {kept: _weight(units, len(kept)) for kept in proper}
        else:
            self._weights = self._drawn(units, max(most - 2, 4 * units), rng)

    def _drawn(self, units: int, most: int, rng: np.random.Generator) -> Mapping[Kept, float]:
        outer = [kept for unit in sorted(self._all) for kept in (frozenset({unit}), self._all - {unit})]
        sizes = np.arange(2, units - 1)
        share = 1 / (sizes * (units - sizes))
        drawn: Counter[Kept] = Counter()
        while len(outer) + len(drawn) + 2 <= most:
            kept = frozenset(rng.choice(units, size=rng.choice(sizes, p=share / share.sum()), replace=False).tolist())
            drawn.update((kept, self._all - kept))
        # In units of one draw: the draws stand for the whole weight of their sizes.
        drawn_weight = share.sum() / drawn.total()
        return {**dict.fromkeys(outer, 1 / (units - 1) / units), **{kept: count * drawn_weight for kept, count in drawn.items()}}

    @property
    def sets(self) -> Sequence[Kept]:
        return [frozenset(), self._all, *self._weights]

    def values(self, of: Mapping[Kept, float]) -> Floats:
        none, everything = of[frozenset()], of[self._all]
        units = len(self._all)
        if units < 2:
            return np.full(units, everything - none)
        x = np.array([[float(unit in kept) for unit in range(units)] for kept in self._weights])
        y = np.array([of[kept] for kept in self._weights]) - none
        root = np.sqrt(np.array(list(self._weights.values()), np.float64))
        # The last value is what the others leave of the whole difference.
        left = y - x[:, -1] * (everything - none)
        free, *_ = np.linalg.lstsq((x[:, :-1] - x[:, -1:]) * root[:, None], left * root, rcond=None)
        return np.append(free, everything - none - free.sum())


def _weight(units: int, size: int) -> float:
    return (units - 1) / (comb(units, size) * size * (units - size))
