"""KernelSHAP: Shapley values by weighted least squares over sampled sets, held to sum to v(all) - v(none).

The weight of a set of s of n units is (n - 1) / (C(n, s) s (n - s)). Where all sets fit the budget they are all taken, and the result is
exact. Else the sets of one unit and their complements, which weigh most and pin down every unit, are all taken with the share that is
theirs, and sets of the other sizes are drawn by their shares, each with its complement. Source: Lundberg and Lee 2017 (arXiv 1705.07874),
theorem 2; paired sampling: Covert and Lee 2021.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np

from analyzers.attributions import METHODS, RESAMPLES, Floats, Kept, all_fit


@METHODS.add("kernel-shap")
class KernelShap:
    """At most as many sets as it may ask for, but not fewer than pin down every unit."""

    def __init__(self, units: int, most: int, rng: np.random.Generator) -> None:
        self._all = frozenset(range(units))
        self._drawn: Counter[Kept] = Counter()
        """How often each set was drawn that was; its complement as often."""
        if all_fit(units, most):
            taken = [frozenset(some) for size in range(1, units) for some in combinations(range(units), size)]
        else:
            taken = [kept for unit in range(units) for kept in (frozenset({unit}), self._all - {unit})]
            self._draw(units, max(most - 2, 4 * units) - len(taken), rng)
        self._taken = {kept: _weight(units, len(kept)) for kept in taken}

    def _draw(self, units: int, most: int, rng: np.random.Generator) -> None:
        sizes = np.arange(2, units - 1)
        share = 1 / (sizes * (units - sizes))
        while len(self._drawn) + 2 <= most:
            kept = frozenset(rng.choice(units, size=rng.choice(sizes, p=share / share.sum()), replace=False).tolist())
            self._drawn.update((kept, self._all - kept))

    @property
    def sets(self) -> Sequence[Kept]:
        return [frozenset(), self._all, *self._taken, *self._drawn]

    @cached_property
    def _kept(self) -> Floats:
        """[set, unit] 1 where it is kept, of all sets but the two ends."""
        return np.array([[float(unit in kept) for unit in range(len(self._all))] for kept in (*self._taken, *self._drawn)])

    def values(self, of: Mapping[Kept, float]) -> Floats:
        return self._fitted(of, np.array(list(self._drawn.values()), np.float64))

    def errors(self, of: Mapping[Kept, float]) -> Floats | None:
        if not self._drawn:
            return None
        # A set and its complement were drawn together, and are drawn together again; they stand side by side.
        pairs = np.array(list(self._drawn.values()), np.float64).reshape(-1, 2)[:, 0]
        rng = np.random.default_rng(0)
        again = rng.multinomial(int(pairs.sum()), pairs / pairs.sum(), size=RESAMPLES)
        return np.asarray(np.std([self._fitted(of, np.repeat(counts, 2)) for counts in again], axis=0, ddof=1))

    def weights(self, counts: Floats) -> dict[Kept, float]:
        """Of all sets but the two ends, where the drawn ones were drawn so often: together they have the weight of their sizes."""
        units = len(self._all)
        whole = sum((units - 1) / (size * (units - size)) for size in range(2, units - 1))
        return self._taken | {kept: whole * float(count) / counts.sum() for kept, count in zip(self._drawn, counts, strict=True)}

    def _fitted(self, of: Mapping[Kept, float], counts: Floats) -> Floats:
        none, everything = of[frozenset()], of[self._all]
        units = len(self._all)
        if units < 2:
            return np.full(units, everything - none)
        weights = self.weights(counts)
        x = self._kept
        y = np.array([of[kept] for kept in weights]) - none
        root = np.sqrt(np.array(list(weights.values()), np.float64))
        # The last value is what the others leave of the whole difference.
        left = y - x[:, -1] * (everything - none)
        free, *_ = np.linalg.lstsq((x[:, :-1] - x[:, -1:]) * root[:, None], left * root, rcond=None)
        return np.append(free, everything - none - free.sum())


def _weight(units: int, size: int) -> float:
    return (units - 1) / (comb(units, size) * size * (units - size))
