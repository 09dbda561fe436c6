"""Shapley values: the mean, over all orders of the units, of what a unit adds to the units before it.

Where all sets of units fit the budget they are all taken, and the values are exact: the unit adds to every set of s others with the weight
1 / (n C(n - 1, s)). Else orders are sampled, each followed by its reverse, which usually lowers the variance. In every order the additions
sum to v(all) - v(none), so the values do, too, however few orders there are. Source: Shapley 1953; sampling: Castro et al. 2009;
antithetic pairs: Mitchell et al. 2022.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np

from analyzers.attributions import METHODS, Floats, Kept, all_fit


@METHODS.add("shapley")
class Shapley:
    """All sets, or as many pairs of permutations as the sets allow, two at least, which tell how far pairs differ."""

    def __init__(self, units: int, most: int, rng: np.random.Generator) -> None:
        self._units = units
        self._exact = all_fit(units, most)
        self.orders: list[list[int]] = []
        """[permutation] units, the first one added first; none where all sets are taken."""
        if not self._exact:
            # The two ends are shared, and each permutation has units - 1 sets of its own.
            pairs = max(2, (most - 2) // max(1, 2 * (units - 1)))
            forward = [rng.permutation(units).tolist() for _ in range(pairs)]
            self.orders = [order for one in forward for order in (one, one[::-1])]

    @property
    def sets(self) -> Sequence[Kept]:
        if self._exact:
            return [frozenset(some) for size in range(self._units + 1) for some in combinations(range(self._units), size)]
        return [frozenset(order[:count]) for order in self.orders for count in range(self._units + 1)]

    def values(self, of: Mapping[Kept, float]) -> Floats:
        return self._summed(of) if self._exact else np.asarray(self._by_pair(of).mean(axis=0))

    def errors(self, of: Mapping[Kept, float]) -> Floats | None:
        if self._exact:
            return None
        by_pair = self._by_pair(of)
        return np.asarray(by_pair.std(axis=0, ddof=1) / np.sqrt(len(by_pair)))

    def _summed(self, of: Mapping[Kept, float]) -> Floats:
        """[unit] from all sets: each counts for its units with the weight that they add it with, and against the others."""
        units = self._units
        weights = [1 / (units * comb(units - 1, size)) for size in range(units)]
        found = np.zeros(units)
        for kept in self.sets:
            for unit in range(units):
                found[unit] += of[kept] * (weights[len(kept) - 1] if unit in kept else -weights[len(kept)])
        return found

    def _by_pair(self, of: Mapping[Kept, float]) -> Floats:
        """[pair of permutations, unit] what the unit adds on average."""
        added = np.empty((len(self.orders), self._units))
        for row, order in zip(added, self.orders, strict=True):
            row[order] = np.diff([of[frozenset(order[:count])] for count in range(self._units + 1)])
        return (added[::2] + added[1::2]) / 2
