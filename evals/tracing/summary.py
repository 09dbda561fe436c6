"""Means over facts with their intervals, and where they peak."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.results import Failure, Value, failure
from evals.scores import Masked
from evals.statistics import bootstrap

Floats = npt.NDArray[np.float64]


def curve(values: Floats, *, seed: int) -> list[Value | Failure]:
    """[layer] mean over facts of values [fact, layer]; a fact with NaN has none, and n counts those that have some.

    Raises ValueError where a fact has some at one layer only.
    """
    layers = values.shape[1]
    there = ~np.isnan(values).any(1)
    if not np.isnan(values[~there]).all():
        raise ValueError("a fact that is measured at one layer is measured at all")
    if not there.any():
        return [Failure(stage="score", reason="no fact has such a token")] * layers
    own = values[there]

    def at(layer: int) -> "_Mean":
        return _Mean(own[:, layer])

    found = bootstrap({str(layer): at(layer) for layer in range(layers)}, len(own), n=len(own), seed=seed)
    return [_kept(found[str(layer)]) for layer in range(layers)]


def figure(values: Floats, *, seed: int) -> Value | Failure:
    """Mean over facts of values [fact], those with NaN left out."""
    return curve(values[:, None], seed=seed)[0]


def peak(values: Floats, *, seed: int) -> Value | Failure:
    """The layer of the largest mean over facts of values [fact, layer]; its interval is over facts."""
    own = values[~np.isnan(values).any(1)]
    if len(own) == 0:
        return Failure(stage="score", reason="no fact has such a token")

    def of(weights: Floats) -> Masked:
        return np.ma.masked_array((weights @ own).argmax(1).astype(np.float64))

    return _kept(bootstrap({"peak": of}, len(own), n=len(own), seed=seed)["peak"])


def held_out_peaks(values: Floats) -> npt.NDArray[np.intp]:
    """[fact] the layer of the largest mean over all other facts of values [fact, layer], NaN left out."""
    total = np.nansum(values, 0)
    return np.array([int((total - np.nan_to_num(row)).argmax()) for row in values], np.intp)


def geometric(values: Sequence[Value | Failure]) -> list[Value | Failure]:
    """Of means of logarithms what they are logarithms of."""
    return [
        value
        if isinstance(value, Failure)
        else Value(value=float(np.exp(value.value)), low=float(np.exp(value.low)), high=float(np.exp(value.high)), n=value.n)
        for value in values
    ]


class _Mean:
    def __init__(self, values: Floats) -> None:
        self._values = values

    def __call__(self, weights: Floats) -> Masked:
        return np.ma.masked_array((weights @ self._values) / weights.sum(1))


def _kept(value: Value | Failed) -> Value | Failure:
    return failure(value) if isinstance(value, Failed) else value
