"""From a simulated level to raw activation, by a map fitted on the calibrate split and applied to others.

Both are those of the 2023 code. Linear: least squares, truth ~ simulated; a negative slope is kept, for failing it would drop just the
bad explanations from every mean. Percentile: the simulated value at a rank becomes the true value at that rank, linear between; among equal
simulated values the highest rank counts, outside the fitted range the nearest end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from analyzers.errors import Failed
from evals.scores import Floats, Pairs, constant

CalibrationName = Literal["linear", "percentile"]


@dataclass(frozen=True)
class Linear:
    """activation = slope * simulated + intercept."""

    slope: float
    intercept: float

    def __call__(self, simulated: Floats) -> Floats:
        return self.slope * simulated + self.intercept


@dataclass(frozen=True, eq=False)
class Percentile:
    """Values of equal rank, both [token] ascending."""

    simulated: Floats
    true: Floats

    def __call__(self, simulated: Floats) -> Floats:
        return np.interp(simulated, self.simulated, self.true)


Calibration = Linear | Percentile


def fit_linear(pairs: Pairs) -> Linear | Failed:
    """Least squares over the present tokens; Failed if either side is constant, empty or not finite."""
    failed = _problem(pairs)
    if failed is not None:
        return failed
    true, simulated = pairs.truth[pairs.present], pairs.prediction[pairs.present]
    centred = simulated - simulated.mean()
    slope = float(centred @ (true - true.mean()) / (centred @ centred))
    return Linear(slope, float(true.mean() - slope * simulated.mean()))


def fit_percentile(pairs: Pairs) -> Percentile | Failed:
    """Match ranks over the present tokens; Failed if either side is constant, empty or not finite."""
    failed = _problem(pairs)
    if failed is not None:
        return failed
    return Percentile(np.sort(pairs.prediction[pairs.present]), np.sort(pairs.truth[pairs.present]))


CALIBRATIONS: dict[CalibrationName, Callable[[Pairs], Calibration | Failed]] = {"linear": fit_linear, "percentile": fit_percentile}


def calibrated(calibration: Calibration, pairs: Pairs) -> Pairs:
    """The same pairs with predictions in raw activation."""
    return replace(pairs, prediction=calibration(pairs.prediction), scale="activation")


def _problem(pairs: Pairs) -> Failed | None:
    for what, values in (("truth", pairs.truth[pairs.present]), ("simulation", pairs.prediction[pairs.present])):
        if not values.size:
            return Failed("calibrate", "no prediction for any token of the calibrate split")
        if not np.isfinite(values).all():
            return Failed("calibrate", f"the {what} has values that are not finite in the calibrate split")
        if constant(values):
            return Failed("calibrate", f"the {what} is constant ({values[0]:g}) in the calibrate split")
    return None
