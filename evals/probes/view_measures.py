"""The views of one layer's states, as functions of arrays, each beside a plane that knows nothing."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from analyzers.probes.planes import (
    Kept,
    Space,
    kept,
    label_plane,
    neighbour_embedding,
    number_plane,
    principal,
    random_plane,
)
from analyzers.probes.ridge import Floats, Scale
from analyzers.progress import Report, quiet
from evals.probes.results import Metrics
from evals.probes.view_results import Plane, ViewedLayer
from evals.results import Failure, Value, failure
from evals.statistics import mean

DIGITS = 4
"""Significant ones of a coordinate that are kept."""


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of the points that are shown, and of those that are fitted to."""

    units: Sequence[Hashable]
    """[shown] what was sampled."""
    labels: npt.NDArray[np.int64] | None = None
    """[shown] of labels, as numbers."""
    fitted_labels: npt.NDArray[np.int64] | None = None
    numbers: Floats | None = None
    """[fitted, number]"""


def viewed_layer(layer: int, shown: Floats, fitted: Floats, told: Told, *, seed: int, report: Report = quiet) -> ViewedLayer:
    """All views of the states `shown` [point, feature]; with nothing to fit to, `fitted` has no rows."""
    scale = Scale.of(fitted if len(fitted) else shown)
    rows, others = scale.standard(shown), scale.standard(fitted)
    states, random = Space.of(rows), Space.of(random_plane(rows, seed))
    base = kept(states, random)
    explained: list[float] = []

    def components() -> Floats:
        found = principal(rows)
        explained.extend(found.explained)
        return found.points

    made = {"pca": components}
    if (own := _own(others, rows, told)) is not None:
        made["probe"] = own
    made["neighbours"] = lambda: neighbour_embedding(rows, seed)
    planes = {}
    for done, (name, make) in enumerate(made.items()):
        report(f"drawing layer {layer}", done, len(made))
        planes[name] = _plane(make, states, base, told)
    controls = {"random_plane": _figures(random, base, None, told)}
    same = None
    if told.labels is not None and told.fitted_labels is not None:
        shuffled = np.random.default_rng([seed, 4]).permutation(told.fitted_labels)
        plane = _plane(lambda: label_plane(others, shuffled, rows), states, base, told)
        controls["shuffled_labels"] = plane.figures
        same = _mean(_same(states, told.labels), told)
    report(f"drawing layer {layer}", len(made), len(made))
    return ViewedLayer(layer=layer, explained=explained, planes=planes, controls=controls, same_label=same)


def _own(fitted: Floats, rows: Floats, told: Told) -> Callable[[], Floats] | None:
    """How the plane of the probe is made; of a latitude and a longitude with x the longitude."""
    labels, numbers = told.fitted_labels, told.numbers
    if labels is not None:
        return lambda: label_plane(fitted, labels, rows)
    if numbers is not None:
        return lambda: number_plane(fitted, numbers[:, ::-1], rows)
    return None


def chance_of(labels: npt.NDArray[np.int64]) -> float:
    """Share of pairs of different points with the same label."""
    counts = np.bincount(labels).astype(np.float64)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def _plane(make: Callable[[], Floats], states: Space, base: Kept, told: Told) -> Plane:
    """The view with its figures, or why there is none."""
    try:
        points = make()
    except ValueError as error:
        return Plane(failure=Failure(stage="view", reason=str(error)))
    x, y = ([float(f"{value:.{DIGITS}g}") for value in axis] for axis in points.T.tolist())
    view = Space.of(points)
    return Plane(x=x, y=y, figures=_figures(view, kept(states, view), base, told))


def _figures(view: Space, found: Kept, base: Kept | None, told: Told) -> Metrics:
    figures: Metrics = {
        "trustworthiness": _mean(found.trustworthiness, told),
        "neighbours_kept": _mean(found.neighbours, told),
    }
    if base is not None:
        figures["neighbours_kept_over_random"] = _mean(found.neighbours - base.neighbours, told)
    if told.labels is not None:
        figures["same_label"] = _mean(_same(view, told.labels), told)
    return figures


def _same(space: Space, labels: npt.NDArray[np.int64]) -> Floats:
    """[point] share of its nearest ones with its label."""
    found: Floats = (labels[space.near] == labels[:, None]).mean(axis=1)
    return found


def _mean(values: Floats, told: Told) -> Value | Failure:
    """Over points, those of one unit together."""
    found = mean(values, told.units)
    return failure(found) if isinstance(found, Failed) else found
