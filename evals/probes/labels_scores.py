"""Figures of a probe of labels, with intervals over the texts that test: shares, code lengths, and where over the layers the gains lie."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evals.probes.labels_measure import Indices, Read, Rows
from evals.probes.results import Lift, Metrics
from evals.results import Failure, Value, stored
from evals.scores import Floats, Masked, Statistic
from evals.statistics import benjamini_hochberg, bootstrap, sign_flip_p

ALPHA = 0.05
Right = npt.NDArray[np.bool_]
"""[test row]"""


def layer_metrics(reads: Sequence[Read], rows: Rows, *, seed: int = 0) -> list[Metrics]:
    """[read] accuracy; selectivity and mdl_compression where they were asked for. n counts rows."""
    shares: dict[str, Statistic] = {}
    codes: dict[str, Statistic] = {}
    coded = _numbered(rows.sentence[rows.sending(seed)])
    for at, read in enumerate(reads):
        shares[f"{at}/accuracy"] = share(read.right, rows.unit)
        if read.control is not None:
            shares[f"{at}/selectivity"] = share(read.right.astype(np.float64) - read.control, rows.unit)
        if read.bits is not None:
            codes[f"{at}/mdl_compression"] = ratio(np.full(len(read.bits), np.log2(rows.classes)), read.bits, coded)
    found = _over(shares, rows, seed=seed)
    found |= stored(bootstrap(codes, int(coded.max()) + 1, n=len(rows.train), seed=seed)) if codes else {}
    made: list[Metrics] = [{} for _ in reads]
    for name, value in found.items():
        number, _, metric = name.partition("/")
        made[int(number)][metric] = value
    return made


def accuracy(right: Right, rows: Rows, *, seed: int = 0) -> Value | Failure:
    """Of predictions for the test rows."""
    return _over({"accuracy": share(right, rows.unit)}, rows, seed=seed)["accuracy"]


def accuracy_among(right: Right, among: Right, rows: Rows, *, seed: int = 0) -> Value | Failure:
    """Of the test rows that are among these; intervals over the texts that have any."""
    if not among.any():
        return Failure(stage="score", reason="there is no such word among those that test")
    unit = _numbered(rows.sentence[rows.test][among])
    found = bootstrap({"accuracy": share(right[among], unit)}, int(unit.max()) + 1, n=int(among.sum()), seed=seed)
    return stored(found)["accuracy"]


def lift(best: Right, baseline: Right, rows: Rows, *, seed: int = 0) -> Lift | Failure:
    """Accuracy less a baseline's on the same rows; p by exchanging the two within texts."""
    gained = best.astype(np.float64) - baseline
    value = _over({"lift": share(gained, rows.unit)}, rows, seed=seed)["lift"]
    if isinstance(value, Failure):
        return value
    return Lift(**value.model_dump(), p=sign_flip_p(by_text(gained, rows.unit), two_sided=False, seed=seed))


def against_best(reads: Sequence[Read], best: Read, rows: Rows, *, seed: int = 0) -> dict[int, float]:
    """By every other layer the two-sided p-value of having the best one's accuracy, adjusted over layers (Benjamini-Hochberg)."""
    others = [read for read in reads if read.layer != best.layer]
    raw = [sign_flip_p(by_text(best.right.astype(np.float64) - read.right, rows.unit), two_sided=True, seed=seed) for read in others]
    adjusted = benjamini_hochberg(raw)
    return {read.layer: p for read, p in zip(others, adjusted, strict=True) if p is not None}


def gravity(reads: Sequence[Read], rows: Rows, *, seed: int = 0) -> Metrics:
    """expected_layer and centre_of_gravity, in layers, after Tenney et al. 2019 (arXiv 1905.05950).

    expected_layer: mean layer at which accuracy is gained, a gain being what a layer adds to the best one below it (theirs: what it
    adds to a mix of all below it). centre_of_gravity: mean layer weighted by how far its accuracy lies above layer 0's, not counted
    where it lies below (theirs: weighted by a learnt mix). Failure where no layer is better than layer 0.
    """
    layers = np.array([read.layer for read in reads], np.float64)
    right = np.stack([read.right for read in reads], axis=1).astype(np.float64)
    totals = np.stack([by_text(each, rows.unit) for each in right.T], axis=1)
    counts = by_text(np.ones(len(right)), rows.unit)

    def accuracies(weights: Floats) -> Floats:
        found: Floats = (weights @ totals) / (weights @ counts)[:, None]
        return found

    def expected(weights: Floats) -> Masked:
        gains = np.diff(np.maximum.accumulate(accuracies(weights), axis=1), axis=1)
        return _mean_layer(layers[1:], gains)

    def centre(weights: Floats) -> Masked:
        found = accuracies(weights)
        return _mean_layer(layers, np.maximum(found - found[:, :1], 0))

    return _over({"expected_layer": expected, "centre_of_gravity": centre}, rows, seed=seed)


def share(right: Right | Floats, unit: Indices) -> Statistic:
    """Mean over rows as a statistic over texts; unit [row]."""
    return ratio(right, np.ones(len(right)), unit)


def ratio(of: npt.ArrayLike, among: npt.ArrayLike, unit: Indices) -> Statistic:
    """Sum over rows of one over the sum of the other; both [row]."""
    total, whole = by_text(of, unit), by_text(among, unit)

    def statistic(weights: Floats) -> Masked:
        drawn = weights @ whole
        return np.ma.masked_array((weights @ total) / np.where(drawn > 0, drawn, 1), drawn <= 0)

    return statistic


def by_text(values: npt.ArrayLike, unit: Indices) -> Floats:
    """[text] the sum over its rows."""
    found: Floats = np.bincount(unit, np.asarray(values, np.float64)).astype(np.float64)
    return found


def _mean_layer(layers: Floats, weights: Floats) -> Masked:
    total = weights.sum(axis=1)
    return np.ma.masked_array((weights @ layers) / np.where(total > 0, total, 1), total <= 0)


def _over(statistics: Mapping[str, Statistic], rows: Rows, *, seed: int) -> dict[str, Value | Failure]:
    return stored(bootstrap(statistics, int(rows.unit.max()) + 1, n=len(rows.test), seed=seed))


def _numbered(values: Indices) -> Indices:
    return np.unique(values, return_inverse=True)[1].astype(np.intp)
