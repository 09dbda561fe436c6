"""How well stated confidence tells right answers from wrong ones, and how near it comes to the share of right ones.

accuracy, mean_confidence, overconfidence   share of correct answers, mean confidence, and confidence minus accuracy
ece, ece_equal_mass                         expected calibration error: |accuracy - mean confidence| of a bin, averaged over items; over
                                            the bins of the reliability diagram (evals.confidence.reliability)
ece_floor, ece_equal_mass_floor             the ECE that a perfectly calibrated model with these confidences has on average
brier                                       mean of (confidence - correct)^2
brier_reliability, _resolution, _uncertainty   Murphy's decomposition, over the distinct values of confidence so that it is exact:
                                            brier = reliability - resolution + uncertainty
auroc                                       chance that a correct answer has the higher confidence, ties half
auprc_positive, auprc_negative              average precision of finding correct answers by high and incorrect ones by low confidence
aurc                                        area under the risk-coverage curve: the share of incorrect answers among the k most
                                            confident, averaged over k = 1..n; expected over the orders of ties
modal_share, distinct_values                share of items at the confidence stated most often; how many values were stated

ECE, AUROC and both AUPRC are the measures of Xiong et al. (ICLR 2024, arXiv 2306.13063). Their code has an AURC times 1000 that joins the
curve's points at distinct values by straight lines; it differs. ECE alone misleads: a model that says 100 % to everything and is right
94 % of the time has an ECE of .06 and an AUROC of .5, which modal_share shows.

**ECE is biased upwards**, the more so the fewer the items: within a bin chance moves the accuracy away from the confidence, and the
absolute value turns both directions into error. An ECE within the interval of its floor is no sign of miscalibration. The decomposition
has the same bias: with as many values as items reliability is all of brier and resolution all of uncertainty, whatever the model knows.

Intervals are 95 % bootstrap intervals over items, or over units of items (evals.statistics), with these exceptions. Resampling adds the
bias of ECE, reliability and resolution once more, so that percentiles lie too high: theirs are moved until the value is their middle. They
are intervals for what the measure is on average with so many items, bias included; in simulations with 40 to 300 items percentiles
covered that in 82 to 96 % of samples, and reliability over many values once in 23 %, the moved intervals in 89 to 100 %. A floor's
interval is where 95 % of perfectly calibrated models fall; it takes items to be independent. distinct_values describes these replies and
estimates nothing: its interval is the value.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from analyzers.errors import Failed
from evals.confidence.reliability import equal_mass, equal_width, items
from evals.results import Value
from evals.scores import Floats, Indices, Masked, Statistic
from evals.statistics import DRAWS, LEVEL, _units, auroc, bootstrap, mean

MEASURES = (
    "accuracy",
    "mean_confidence",
    "overconfidence",
    "ece",
    "ece_floor",
    "ece_equal_mass",
    "ece_equal_mass_floor",
    "brier",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "auroc",
    "auprc_positive",
    "auprc_negative",
    "aurc",
    "modal_share",
    "distinct_values",
)
_BIASED = ("ece", "ece_equal_mass", "brier_reliability", "brier_resolution")

_Table = Callable[[Floats, Floats], Masked]
"""Items and correct items by value of confidence, both [draw, value], values ascending -> values of a measure [draw]."""


def measure(
    confidence: Sequence[float] | Floats,
    correct: Sequence[bool] | npt.NDArray[np.bool_],
    *,
    seed: int,
    unit: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
) -> dict[str, Value | Failed]:
    """All MEASURES of items' stated confidence [item], 0 to 1, and whether their answers are correct [item]; n counts items.

    Items with an equal `unit` [item] are drawn together; by default each is its own. Failed where a measure is undefined on the items or
    in too many resamples (all correct: no AUROC). ValueError where confidence is not in 0..1 or there is not one of each for every item.
    """
    x, right = items(confidence, correct)
    if not x.size:
        return dict.fromkeys(MEASURES, Failed("score", "no items"))
    values, value_of, counts = np.unique(x, return_inverse=True, return_counts=True)
    wide, massed = _ece(values, equal_width(values)), _ece(values, equal_mass(counts))
    tables: dict[str, _Table] = {
        "ece": wide,
        "ece_equal_mass": massed,
        "brier_reliability": _murphy_reliability(values),
        "brier_resolution": _murphy_resolution,
        "brier_uncertainty": _murphy_uncertainty,
        "auprc_positive": lambda n, hits: _average_precision(n[:, ::-1], hits[:, ::-1]),
        "auprc_negative": lambda n, hits: _average_precision(n, n - hits),
        "aurc": _aurc,
    }
    unit_of, units = _units(len(x), unit)
    statistics = {name: _over_items(table, value_of, right, unit_of) for name, table in tables.items()}
    found: dict[str, Value | Failed] = dict(bootstrap(statistics, units, n=len(x), draws=draws, seed=seed))
    for name in _BIASED:
        found[name] = _around(found[name])
    found["ece_floor"], found["ece_equal_mass_floor"] = _floors((wide, massed), values, counts, draws, seed)
    for name, of in {
        "accuracy": right.astype(np.float64),
        "mean_confidence": x,
        "overconfidence": x - right,
        "brier": (x - right) ** 2,
        "modal_share": (value_of == counts.argmax()).astype(np.float64),
    }.items():
        found[name] = mean(of, unit, draws=draws, seed=seed)
    found["auroc"] = auroc(x, right, unit, draws=draws, seed=seed)
    found["distinct_values"] = Value(value=len(values), low=len(values), high=len(values), n=len(x))
    return {name: found[name] for name in MEASURES}


def chance(confidence: Sequence[float] | Floats, correct: Sequence[bool] | npt.NDArray[np.bool_]) -> dict[str, float]:
    """By measure, what a confidence has that knows nothing of the items: stated in random order, or for brier the accuracy itself
    stated for every item, the best that can be said in ignorance. Only measures for which that exists and that are defined here.

    ValueError as `measure`.
    """
    right = items(confidence, correct)[1]
    if not right.size:
        return {}
    accuracy = float(right.mean())
    levels = {"brier": accuracy * (1 - accuracy), "aurc": 1 - accuracy}
    if accuracy > 0:
        levels["auprc_positive"] = accuracy
    if accuracy < 1:
        levels["auprc_negative"] = 1 - accuracy
    if 0 < accuracy < 1:
        levels["auroc"] = 0.5
    return {name: levels[name] for name in MEASURES if name in levels}


def _over_items(table: _Table, value_of: Indices, right: npt.NDArray[np.bool_], unit_of: Indices) -> Statistic:
    """As a statistic of the weights of units; value_of, right, unit_of [item]."""
    order = np.argsort(value_of, kind="stable")
    starts = np.unique(value_of[order], return_index=True)[1]
    unit_in_order, right_in_order = unit_of[order], right[order]

    def of(weights: Floats) -> Masked:
        drawn = weights[:, unit_in_order]
        return table(np.add.reduceat(drawn, starts, axis=1), np.add.reduceat(drawn * right_in_order, starts, axis=1))

    return of


def _ece(values: Floats, bins: Indices) -> _Table:
    """Over bins that are numbered upwards along the values."""
    starts = np.unique(bins, return_index=True)[1]

    def of(n: Floats, hits: Floats) -> Masked:
        gaps = np.add.reduceat(hits - n * values, starts, axis=1)
        return np.ma.masked_array(np.abs(gaps).sum(axis=1) / n.sum(axis=1))

    return of


def _floors(
    eces: tuple[_Table, _Table], values: Floats, counts: npt.NDArray[np.integer], draws: int, seed: int
) -> tuple[Value | Failed, Value | Failed]:
    """Both ECEs where correct answers are drawn with the confidences as their chances."""
    hits = np.random.default_rng(seed).binomial(counts, values, size=(draws, len(values))).astype(np.float64)
    n = np.broadcast_to(counts.astype(np.float64), hits.shape)
    wide, massed = (_simulated(ece(n, hits), int(counts.sum())) for ece in eces)
    return wide, massed


def _simulated(drawn: Masked, n: int) -> Value:
    low, high = np.quantile(drawn.compressed(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Value(value=float(drawn.mean()), low=float(low), high=float(high), n=n)


def _around(found: Value | Failed) -> Value | Failed:
    """With the interval moved so that the value is its middle, but not out of 0..1."""
    if isinstance(found, Failed):
        return found
    half = (found.high - found.low) / 2
    return Value(value=found.value, low=max(0.0, found.value - half), high=min(1.0, found.value + half), n=found.n)


def _rates(n: Floats, hits: Floats) -> tuple[Floats, Floats]:
    """Accuracy at every value [draw, value], 0 where there is no item, and over all items [draw, 1]."""
    return hits / np.maximum(n, 1), hits.sum(axis=1, keepdims=True) / n.sum(axis=1, keepdims=True)


def _murphy_reliability(values: Floats) -> _Table:
    return lambda n, hits: np.ma.masked_array((n * (values - _rates(n, hits)[0]) ** 2).sum(axis=1) / n.sum(axis=1))


def _murphy_resolution(n: Floats, hits: Floats) -> Masked:
    rates, whole = _rates(n, hits)
    return np.ma.masked_array((n * (rates - whole) ** 2).sum(axis=1) / n.sum(axis=1))


def _murphy_uncertainty(n: Floats, hits: Floats) -> Masked:
    whole = _rates(n, hits)[1][:, 0]
    return np.ma.masked_array(whole * (1 - whole))


def _average_precision(n: Floats, hits: Floats) -> Masked:
    """Of finding the hits where items are taken value by value, first value first; both [draw, value]."""
    precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(n, axis=1), 1)
    total = hits.sum(axis=1)
    return np.ma.masked_array((hits * precision).sum(axis=1) / np.maximum(total, 1), total == 0)


def _aurc(n: Floats, hits: Floats) -> Masked:
    """After N items with E errors, j items of a value with error rate r make the expected risk (E + jr) / (N + j) = r + (E - Nr) / (N + j).

    Summed over the value's items the last fraction is a difference of harmonic numbers, and those are digammas.
    """
    n, errors = n[:, ::-1], (n - hits)[:, ::-1]
    before, errors_before = np.cumsum(n, axis=1) - n, np.cumsum(errors, axis=1) - errors
    rate = errors / np.maximum(n, 1)
    harmonic = digamma(before + n + 1) - digamma(before + 1)
    return np.ma.masked_array((errors + (errors_before - before * rate) * harmonic).sum(axis=1) / n.sum(axis=1))
