"""Shapley values by sampled permutations: the mean of what a unit adds to the units before it.

In every permutation the additions sum to v(all) - v(none), so the values do, too, however few permutations there are. Each is followed
by its reverse, which usually lowers the variance. Source: Castro et al. 2009; antithetic pairs: Mitchell et al. 2022.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from analyzers.attributions import METHODS, Floats, Kept


@METHODS.add("shapley")
class Shapley:
    """As many pairs of permutations as the sets allow, two at least, which tell how far pairs differ."""

    def __init__(self, units: int, most: int, rng: np.random.Generator) -> None:
        self._units = units
        # The two ends are shared, and each permutation has units - 1 sets of its own.
        pairs = max(2, (most - 2) // max(1, 2 * (units - 1)))
        forward = [rng.permutation(units).tolist() for _ in range(pairs)]
        self.orders: list[list[int]] = [order for one in forward for order in (one, one[::-1])]
        """[permutation] units, the first one added first."""

    @property
    def sets(self) -> Sequence[Kept]:
        return [frozenset(order[:count]) for order in self.orders for count in range(self._units + 1)]

    def values(self, of: Mapping[Kept, float]) -> Floats:
        return np.asarray(self._by_pair(of).mean(axis=0))

    def errors(self, of: Mapping[Kept, float]) -> Floats | None:
        by_pair = self._by_pair(of)
        return np.asarray(by_pair.std(axis=0, ddof=1) / np.sqrt(len(by_pair)))

    def _by_pair(self, of: Mapping[Kept, float]) -> Floats:
        """[pair of permutations, unit] what the unit adds on average."""
        added = np.empty((len(self.orders), self._units))
        for row, order in zip(added, self.orders, strict=True):
            row[order] = np.diff([of[frozenset(order[:count])] for count in range(self._units + 1)])
        return (added[::2] + added[1::2]) / 2
