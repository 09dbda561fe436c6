"""Metrics of predicted places or numbers, with intervals over entities or over groups of them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyzers.probes.geography import haversine_km, nearer_numbers, nearer_places, proximity_error, r2, spearman
from evals.probes.results import Lift, Metrics
from evals.results import Failure, Value, stored
from evals.scores import Floats, Indices, Masked, Statistic
from evals.statistics import bootstrap, sign_flip_p

MAIN = "r2"


@dataclass(frozen=True, eq=False)
class Truth:
    """Where the entities that are predicted are."""

    true: Floats
    """[entity, target]"""
    columns: tuple[str, ...]
    unit: Indices
    """[entity] number of what it is drawn with."""

    @classmethod
    def of(cls, true: Floats, columns: Sequence[str], unit: Sequence[Hashable] | None = None) -> "Truth":
        """unit: by default each entity is its own."""
        seen: dict[Hashable, int] = {}
        numbers = range(len(true)) if unit is None else [seen.setdefault(each, len(seen)) for each in unit]
        return cls(true, tuple(columns), np.array(numbers, np.intp))

    @property
    def units(self) -> int:
        """How many are drawn."""
        return int(self.unit.max(initial=-1)) + 1

    @property
    def is_place(self) -> bool:
        """Whether it is of places on the earth, not of numbers."""
        return len(self.columns) == 2

    def errors(self, predicted: Floats) -> Floats:
        """[entity] km of a place, or the number's unit."""
        return haversine_km(self.true, predicted) if self.is_place else np.abs(self.true - predicted)[:, 0]


def metrics(truth: Truth, predicted: Floats, *, seed: int = 0) -> Metrics:
    """r2, of places also by axis; spearman; haversine_km or mae; proximity_error. predicted [entity, target]."""
    errors = truth.errors(predicted)
    nearer = nearer_places(truth.true, predicted) if truth.is_place else nearer_numbers(truth.true[:, 0], predicted[:, 0])
    found: dict[str, Statistic] = {MAIN: lambda w: _over_axes(r2(truth.true, predicted, w))}
    if truth.is_place:
        found |= {f"{MAIN}_{name}": _axis(truth, predicted, axis) for axis, name in enumerate(("latitude", "longitude"))}
    found["spearman"] = lambda w: _over_axes(spearman(truth.true, predicted, w))
    found["haversine_km" if truth.is_place else "mae"] = lambda w: np.ma.masked_array((w @ errors) / w.sum(axis=1))
    found["proximity_error"] = lambda w: proximity_error(nearer, w)
    by_unit = {name: _by_unit(of, truth.unit) for name, of in found.items()}
    return stored(bootstrap(by_unit, truth.units, n=len(errors), seed=seed))


def gained(truth: Truth, predicted: Floats, other: Floats, *, seed: int = 0) -> Value | Failure:
    """R2 less that of another prediction, on the same draws."""
    difference = _by_unit(lambda w: _over_axes(r2(truth.true, predicted, w)) - _over_axes(r2(truth.true, other, w)), truth.unit)
    return stored(bootstrap({MAIN: difference}, truth.units, n=len(predicted), seed=seed))[MAIN]


def lift(truth: Truth, predicted: Floats, baseline: Floats, *, seed: int = 0) -> Lift | Failure:
    """What is gained over a baseline; p by exchanging the two's squared errors of whole units."""
    value = gained(truth, predicted, baseline, seed=seed)
    if isinstance(value, Failure):
        return value
    saved = (((truth.true - baseline) ** 2 - (truth.true - predicted) ** 2) / truth.true.var(axis=0)).mean(axis=1)
    return Lift(**value.model_dump(), p=sign_flip_p(np.bincount(truth.unit, saved).astype(np.float64), two_sided=False, seed=seed))


def ranked(truth: Truth, axis: int, shown: npt.NDArray[np.float32], *, seed: int = 0) -> Value | Failure:
    """Spearman of one target with anything [entity]."""
    both = truth.true[:, axis, None], shown[:, None].astype(np.float64)
    found = bootstrap({"spearman": _by_unit(lambda w: spearman(*both, w)[:, 0], truth.unit)}, truth.units, n=len(shown), seed=seed)
    return stored(found)["spearman"]


def _axis(truth: Truth, predicted: Floats, axis: int) -> Statistic:
    return lambda w: r2(truth.true, predicted, w)[:, axis]


def _over_axes(values: Masked) -> Masked:
    """Mean over axes, undefined where one of them is."""
    return np.ma.masked_array(values.data.mean(axis=1), np.ma.getmaskarray(values).any(axis=1))


def _by_unit(of: Callable[[Floats], Masked], unit: Indices) -> Statistic:
    return lambda weights: of(weights[:, unit])
