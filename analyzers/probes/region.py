"""Where in the space of states the training statements lie, and how far away another one is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyzers.probes.truth import Floats, standardiser

DIRECTIONS = 64
"""Principal directions whose spread is kept one by one; all others are taken to have the same."""
PARTS = 5
PERCENTS = 101
"""Quantiles that are kept: 0, 1, ..., 100 %."""

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Region:
    """Mahalanobis distance under probabilistic PCA (Tipping and Bishop, 1999), which needs no matrix of width times width."""

    mean: Floats
    scale: Floats
    """[width] both: states are standardised first."""
    directions: Floats
    """[direction, width] orthonormal."""
    spread: Floats
    """[direction] deviations along them."""
    rest: float
    """Deviation along every other direction; 0 where there is none."""

    @classmethod
    def of(cls, x: Floats) -> "Region":
        """The region of the states x [row, width]."""
        mean, scale = standardiser(x)
        z = (np.asarray(x, np.float64) - mean) / scale
        rows, width = z.shape
        kept = max(1, min(DIRECTIONS, width - 1, rows // 4))
        values, vectors = np.linalg.eigh(z.T @ z / rows)
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        rest = float(np.sqrt(values[kept:].mean())) if kept < width else 0.0
        floor = max(rest, 1e-6)
        return cls(mean, scale, vectors[:, :kept].T.copy(), np.maximum(np.sqrt(values[:kept]), floor), rest)

    def distance(self, x: Floats) -> _Array:
        """float64 [row] how far each state is away."""
        z = (np.asarray(x, np.float64) - self.mean) / self.scale
        along = z @ np.asarray(self.directions, np.float64).T
        squared = ((along / self.spread) ** 2).sum(1)
        # Rounding may leave a state that lies in the directions a little below 0 beside them.
        beside = np.maximum((z**2).sum(1) - (along**2).sum(1), 0)
        return np.asarray(np.sqrt(squared + beside / max(self.rest, 1e-6) ** 2), np.float64)


def distances_left_out(x: Floats, part: npt.NDArray[np.integer]) -> _Array:
    """float64 [row] distance of each state from the region of all that are of another part [row]."""
    found = np.empty(len(x))
    for number in np.unique(part):
        own = part == number
        found[own] = Region.of(x[~own]).distance(x[own])
    return found


def random_parts(rows: int, seed: int) -> npt.NDArray[np.int64]:
    """[row] numbers of PARTS parts of about equal size."""
    return np.asarray(np.random.default_rng(seed).permutation(rows) % PARTS, np.int64)


def quantiles(distances: Floats) -> _Array:
    """float64 [PERCENTS] at 0, 1, ..., 100 %."""
    return np.asarray(np.quantile(distances, np.linspace(0, 1, PERCENTS)), np.float64)


def share_nearer(distance: float, of: Floats) -> float:
    """Share, 0 to 1 in hundredths, of those with these quantiles that lie nearer."""
    return float(np.searchsorted(of, distance, side="left").clip(0, PERCENTS - 1)) / (PERCENTS - 1)
