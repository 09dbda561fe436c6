"""What a detector of truth is measured against: states that know less, no states at all, and the model's own probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from evals.probes.results import Baseline, Layer, Lift, Metrics
from evals.probes.truth_folds import Bank, Parts
from evals.probes.truth_held_out import SLOW, HeldOut, held_out, outer, outer_of_orders
from evals.probes.truth_intervals import Flags, Sample
from evals.probes.truth_words import bag_of_words, best_threshold
from evals.results import Value, stored
from evals.scores import Floats
from evals.statistics import LEVEL, permutation_p

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

SHUFFLES, FEW_SHUFFLES = 39, 9
"""Orders of labels that detectors are trained on, and of detectors that are slow to train."""


def metrics_of(sample: Sample, scores: Floats, right: Flags | None = None) -> Metrics:
    """auroc and accuracy of log-odds [statement]; right: [statement] in place of which side of 0 they are on."""
    rate = sample.accuracy(scores) if right is None else sample.rate(right)
    return stored({"auroc": sample.auroc(scores), "accuracy": rate})


def profile(sample: Sample, scores: Mapping[int, Floats | Failed], *, what: str, report: Report = quiet) -> list[Layer]:
    """auroc and accuracy by layer of log-odds [statement] by layer."""
    found = []
    for done, (layer, each) in enumerate(scores.items()):
        report(what, done, len(scores))
        found.append(Layer.of(layer, failed_metrics(each) if isinstance(each, Failed) else metrics_of(sample, each)))
    report(what, len(scores), len(scores))
    return found


def failed_metrics(failed: Failed) -> Metrics:
    """Both, for the same reason."""
    return stored(dict.fromkeys(("auroc", "accuracy"), failed))


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Detectors that were trained and tested on labels in random order."""

    aurocs: Floats
    """[order] mean over topics."""
    metrics: Metrics
    """Means over orders; intervals are where 95 % of them lie, n is how many there were."""

    def lift(self, found: Value | Failed) -> Lift | Failed:
        """How far an AUROC lies above theirs on average, with its own interval and the share of orders, (1+#)/(1+M), that get as much."""
        if isinstance(found, Failed):
            return found
        mean = float(self.aurocs.mean())
        moved = {name: getattr(found, name) - mean for name in ("value", "low", "high")}
        return Lift(**moved, n=found.n, p=permutation_p(found.value, self.aurocs))


def shuffled(parts: Parts, found: HeldOut, sample: Sample, report: Report = quiet) -> Shuffled | Failed:
    """Trained anew for every order of the labels within topics, at the layers that were chosen by the true ones.

    They are tested on the same order: where one direction is most of what varies, any detector finds it, one way round or the other.
    Detectors that leave out different parts are alike, which makes means over them vary more than intervals over statements say; these
    vary in the same way.
    """
    rng = np.random.default_rng(parts.seed)
    orders = [parts.true.copy() for _ in range(FEW_SHUFFLES if parts.kind in SLOW else SHUFFLES)]
    for true in orders:
        for number in np.unique(parts.topic):
            own = parts.topic == number
            true[own] = rng.permutation(true[own])
    scores = outer_of_orders(parts, found.chosen, found.penalty, orders, what="shuffled labels", report=report)
    if isinstance(scores, Failed):
        return scores
    aurocs = np.array([replace(sample, true=true).plain_auroc(each) for true, each in zip(orders, scores, strict=True)])
    accuracies = np.array([sample.plain_rate((each > 0) == true) for true, each in zip(orders, scores, strict=True)])
    return Shuffled(aurocs, {"auroc": _spread(aurocs), "accuracy": _spread(accuracies)})


def _spread(values: Floats) -> Value:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Value(value=float(values.mean()), low=float(low), high=float(high), n=len(values))


def beside(
    parts: Parts,
    found: HeldOut,
    unlearnt: Bank,
    texts: Sequence[str],
    sample: Sample,
    model: "TextModel",
    report: Report = quiet,
) -> tuple[dict[str, Floats | Failed], dict[str, Baseline], dict[str, list[Layer]]]:
    """(scores, figures) by baseline, and curves over layers."""
    from analyzers.statement_likelihood import mean_logprobs

    majority = np.empty(len(parts.true))
    for number in parts.numbers:
        majority[parts.part == number] = 1.0 if parts.true[parts.part != number].mean() > 0.5 else -1.0
    fresh = held_out(replace(parts, bank=unlearnt), unlearnt.layers, what="random weights", report=report)
    scores: dict[str, Floats | Failed] = {
        "layer0": found.scores[0],
        "random_init": fresh if isinstance(fresh, Failed) else fresh.nested,
        # One verdict for a whole topic ranks nothing in it.
        "majority": majority,
        "bag_of_words": bag_of_words(texts, parts.true, parts.part, report=report),
        "log_probability": mean_logprobs(model, texts, report=report),
    }
    layers = {"layer0": 0} | ({} if isinstance(fresh, Failed) else {"random_init": fresh.best})
    baselines = {}
    for name, told in scores.items():
        right = None
        if name == "log_probability" and not isinstance(told, Failed):
            right = _by_threshold(told, parts)
        baselines[name] = Baseline.of(
            failed_metrics(told) if isinstance(told, Failed) else metrics_of(sample, told, right), layers.get(name)
        )
    lines: dict[str, Mapping[int, Floats | Failed]] = {} if isinstance(fresh, Failed) else {"random_init": fresh.scores}
    if found.choosing:
        lines["logistic"] = found.choosing
    if parts.kind != "mass-mean":
        lines["mass_mean"] = _mass_mean(parts, found, report)
    curves = {name: profile(sample, each, what=f"intervals: {name}", report=report) for name, each in lines.items()}
    return scores, baselines, curves


def _mass_mean(parts: Parts, found: HeldOut, report: Report) -> dict[int, Floats | Failed]:
    """By layer, also where slower detectors are not trained."""
    told: dict[int, Floats | Failed] = {}
    for done, layer in enumerate(layers := found.choosing or found.scores):
        report("train mass-mean", done, len(layers))
        told[layer] = outer(parts, layer, found.penalty, kind="mass-mean")
    report("train mass-mean", len(layers), len(layers))
    return told


def _by_threshold(scores: Floats, parts: Parts) -> Flags:
    """[statement] whether it lies on the right side of the best threshold for all other parts."""
    right = np.empty(len(scores), np.bool_)
    for number in parts.numbers:
        own = parts.part == number
        right[own] = (scores[own] > best_threshold(scores[~own], parts.true[~own])) == parts.true[own]
    return right
