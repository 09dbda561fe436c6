"""LIME: a ridge regression on which units are kept, near the whole text.

As the lime package has it for text: the number of units left out is uniform over 1..n, a text weighs exp(-d^2 / 25^2 / 2) with d = 100
times its cosine distance from the whole text, the ridge has strength 1. Source: Ribeiro et al. 2016 (arXiv 1602.04938).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from sklearn.linear_model import Ridge

from analyzers.attributions import METHODS, RESAMPLES, Floats, Kept

WIDTH = 25.0


@METHODS.add("lime")
class Lime:
    """As many texts as it may ask for, the whole one among them."""

    def __init__(self, units: int, most: int, rng: np.random.Generator) -> None:
        self._units = units
        everything = frozenset(range(units))
        drawn = [rng.choice(units, size=rng.integers(1, units + 1), replace=False).tolist() for _ in range(max(most - 1, units))]
        self.sets: Sequence[Kept] = [everything, *(everything - set(out) for out in drawn)]

    @cached_property
    def _kept(self) -> Floats:
        """[set, unit] 1 where it is kept."""
        return np.array([[float(unit in kept) for unit in range(self._units)] for kept in self.sets])

    def values(self, of: Mapping[Kept, float]) -> Floats:
        return self._fitted(of, np.ones(len(self.sets)))

    def errors(self, of: Mapping[Kept, float]) -> Floats | None:
        # The whole text was not drawn, and stays.
        rng, drawn = np.random.default_rng(0), len(self.sets) - 1
        again = rng.multinomial(drawn, np.full(drawn, 1 / drawn), size=RESAMPLES)
        return np.asarray(np.std([self._fitted(of, np.append(1.0, counts)) for counts in again], axis=0, ddof=1))

    def _fitted(self, of: Mapping[Kept, float], counts: Floats) -> Floats:
        """[unit] with every set counted so often."""
        x = self._kept
        # Cosine of a 0/1 vector with the vector of ones.
        distance = 100 * (1 - np.sqrt(x.sum(axis=1) / self._units))
        weight = counts * np.sqrt(np.exp(-(distance**2) / WIDTH**2))
        fitted = Ridge(alpha=1.0).fit(x, np.array([of[kept] for kept in self.sets]), sample_weight=weight)
        return np.asarray(fitted.coef_, np.float64)
