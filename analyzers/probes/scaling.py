"""Brings every dimension of states to mean 0 and deviation 1, by the states that train, and shortens the longest ones first if so asked.

In many decoders a few words have states a hundred times as long as others, which attention rests on where it has nothing to read. They
decide the mean and the deviation, so that the others lie close together. A convex fit to its end minds that little: logistic regression of
parts of speech on SmolLM2-135M is right as often either way. A map that is trained by a number of steps does: there a structural probe of
layer 12 finds 35 % of the edges in place of 53 %.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Scaling:
    """What states become standard by."""

    longest: float
    """Length that longer states are shortened to."""
    mean: npt.NDArray[np.float32]
    """[width]"""
    deviation: npt.NDArray[np.float32]
    """[width], 1 where a dimension does not vary."""

    @classmethod
    def of(cls, states: Floats, *, longest: float = np.inf) -> Self:
        """By states [row, width]; longest: lengths of the median state that none may exceed."""
        most = longest * float(np.median(_lengths(states))) if np.isfinite(longest) else np.inf
        states = _shortened(states, most)
        # Summed in double precision: some features of hidden states are thousands of times larger than the others.
        mean, deviation = states.mean(axis=0, dtype=np.float64), states.std(axis=0, dtype=np.float64)
        flat = deviation <= 1e-6 * np.abs(mean)
        return cls(most, mean.astype(np.float32), np.where(flat, 1.0, deviation).astype(np.float32))

    def apply(self, states: Floats) -> npt.NDArray[np.float32]:
        """[row, width] as it brings them."""
        scaled: npt.NDArray[np.float32] = (_shortened(states, self.longest) - self.mean) / self.deviation
        return scaled.astype(np.float32, copy=False)


def _lengths(states: Floats) -> Floats:
    """[row, 1]"""
    found: Floats = np.sqrt(np.einsum("wd,wd->w", states, states))[:, None]
    return found


def _shortened(states: Floats, longest: float) -> Floats:
    """With longest 0 and inf as they are."""
    if not 0 < longest < np.inf:
        return states
    shortened: Floats = states * np.asarray(longest / np.maximum(_lengths(states), longest), states.dtype)
    return shortened
