"""Detectors trained without the statements that they are tested on, the layer chosen without these, too.

The detector of a part is trained on all others. Its layer, and the penalty of logistic regression, are those with the best AUROC on a
second part that is left out as well, mean over those; of two parts alone the one that trains is halved for that. For detectors that take
long to train, logistic regression chooses the layer, and they are trained there and at a few layers more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from analyzers.probes.truth import C, Detector, Kind
from analyzers.progress import Report, quiet
from evals.probes.truth_folds import Parts, parts_of
from evals.probes.truth_intervals import Flags, _auroc
from evals.scores import Floats, Indices

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths that are tried for logistic regression on standardised states."""
SLOW: tuple[Kind, ...] = ("saplma", "ccs")
"""Kinds that take long to train."""
FEW_LAYERS = 6
"""At which these are trained beside the chosen ones, at most, and at which the model with random weights is probed: its states differ
little from layer to layer."""
TRAINING = "train detectors"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What detectors say of statements that they were not trained on."""

    scores: Mapping[int, Floats]
    """By layer, [statement] log-odds."""
    chosen: Mapping[int, int]
    """By part, the layer that was best on other parts."""
    penalty: Mapping[int, float]
    """By part, the inverse strength that was best on other parts."""
    part: Indices
    """[statement]"""
    inner: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    """By layer and part, the mean AUROC on second parts."""
    choosing: Mapping[int, Floats] = field(default_factory=dict)
    """By layer, what logistic regression says, where it has chosen the layers of another kind of detector."""

    @property
    def nested(self) -> Floats:
        """[statement] log-odds, each at the layer that was chosen without it."""
        found = np.empty(len(self.part))
        for part, layer in self.chosen.items():
            found[self.part == part] = self.scores[layer][self.part == part]
        return found

    @property
    def usual_penalty(self) -> float:
        """The inverse strength that most parts chose, of several the least."""
        values = list(self.penalty.values())
        return max(sorted(set(values)), key=values.count)

    @property
    def best(self) -> int:
        """The layer that most parts chose, of several the one with the best mean on second parts."""
        layers = list(self.chosen.values())
        return max(sorted(set(layers)), key=lambda layer: (layers.count(layer), float(np.mean(list(self.inner[layer].values())))))


def spread(layers: Sequence[int]) -> list[int]:
    """FEW_LAYERS of the layers, or all where they are fewer, the first and the last among them."""
    return sorted({layers[round(at)] for at in np.linspace(0, len(layers) - 1, FEW_LAYERS)})


def held_out(parts: Parts, layers: Sequence[int], *, what: str = TRAINING, report: Report = quiet) -> HeldOut | Failed:
    """The log-odds of every statement at every layer, of detectors that were not trained on its part; the layer of each part by choice.

    SLOW detectors have them at the layers that logistic regression has chosen and at a spread of others. what: the work that is reported.
    Failed where a detector cannot be trained.
    """
    if parts.kind in SLOW:
        chosen = held_out(replace(parts, kind="logistic"), layers, what=f"{what}, logistic", report=report)
        if isinstance(chosen, Failed):
            return chosen
        scores = _at_layers(parts, sorted({*spread(layers), *chosen.chosen.values()}), chosen.penalty, what, report)
        return scores if isinstance(scores, Failed) else replace(chosen, scores=scores, choosing=chosen.scores)
    penalties = PENALTIES if parts.kind == "logistic" else (C,)
    penalty = dict.fromkeys(parts.numbers, penalties[0])
    if len(penalties) > 1:
        middle = layers[len(layers) // 2]
        best = dict.fromkeys(parts.numbers, -np.inf)
        for done, c in enumerate(penalties):
            report(f"{what}: choose penalty", done, len(penalties))
            tried = _inner(parts, middle, dict.fromkeys(parts.numbers, c))
            if isinstance(tried, Failed):
                return tried
            for part, value in tried.items():
                if value > best[part]:
                    best[part], penalty[part] = value, c
        report(f"{what}: choose penalty", len(penalties), len(penalties))
    inner: dict[int, dict[int, float]] = {}
    for done, layer in enumerate(layers):
        report(f"{what}: choose layers", done, len(layers))
        found = _inner(parts, layer, penalty)
        if isinstance(found, Failed):
            return found
        inner[layer] = found
    report(f"{what}: choose layers", len(layers), len(layers))
    scores = _at_layers(parts, layers, penalty, what, report)
    if isinstance(scores, Failed):
        return scores
    best_layers = {part: _highest({layer: told[part] for layer, told in inner.items()}) for part in parts.numbers}
    return HeldOut(scores, best_layers, penalty, parts.part, inner)


def _at_layers(parts: Parts, layers: Sequence[int], penalty: Mapping[int, float], what: str, report: Report) -> dict[int, Floats] | Failed:
    found: dict[int, Floats] = {}
    for done, layer in enumerate(layers):
        report(what, done, len(layers))
        scores = outer(parts, layer, penalty)
        if isinstance(scores, Failed):
            return scores
        found[layer] = scores
    report(what, len(layers), len(layers))
    return found


def outer(parts: Parts, layer: int | Mapping[int, int], penalty: Mapping[int, float], *, kind: Kind | None = None) -> Floats | Failed:
    """[statement] log-odds of detectors that were trained on all other parts; layer: the same for all parts, or by part."""
    chosen = dict.fromkeys(parts.numbers, layer) if isinstance(layer, int) else layer
    found = np.empty(len(parts.true))
    for at in sorted(set(chosen.values())):
        x, alike = parts.bank.at(at), [part for part in parts.numbers if chosen[part] == at]
        detectors = parts.train_all(at, [parts.part != part for part in alike], c=[penalty[part] for part in alike], kind=kind)
        for part, detector in zip(alike, detectors, strict=True):
            if isinstance(detector, Failed):
                return detector
            found[parts.part == part] = detector.score(x[parts.part == part])
    return found


def outer_of_orders(
    parts: Parts, layer: Mapping[int, int], penalty: Mapping[int, float], orders: Sequence[Flags], *, what: str, report: Report = quiet
) -> Floats | Failed:
    """[order, statement] as `outer`, of detectors that were trained on each of these orders of labels [statement]."""
    found = np.empty((len(orders), len(parts.true)))
    for done, part in enumerate(parts.numbers):
        report(what, done, len(parts.numbers))
        own, x = parts.part == part, parts.bank.at(layer[part])
        for order, detector in enumerate(parts.train_all(layer[part], [~own] * len(orders), c=[penalty[part]] * len(orders), true=orders)):
            if isinstance(detector, Failed):
                return detector
            found[order, own] = detector.score(x[own])
    report(what, len(parts.numbers), len(parts.numbers))
    return found


def _inner(parts: Parts, layer: int, penalty: Mapping[int, float]) -> dict[int, float] | Failed:
    """By part, the mean AUROC on second parts of detectors that were trained on neither."""
    # Leaving out a and b serves both: a's choice is tested on b and b's on a.
    plans = _plans(parts)
    keys = list(dict.fromkeys((left, penalty[part]) for part, left, _, _ in plans))
    rows = {left: train for _, left, train, _ in plans}
    detectors = dict(zip(keys, parts.train_all(layer, [rows[left] for left, _ in keys], c=[c for _, c in keys]), strict=True))
    x, found = parts.bank.at(layer), {part: list[float]() for part in parts.numbers}
    failed: Failed | None = None
    for part, left, _, test in plans:
        detector = detectors[left, penalty[part]]
        score = detector if isinstance(detector, Failed) else _score(parts, detector, x, test)
        if isinstance(score, Failed):
            failed = score
        else:
            found[part].append(score)
    # A half, or a fifth of few statements, may have one label alone.
    if failed is not None and not all(found.values()):
        return failed
    return {part: float(np.mean(each)) for part, each in found.items()}


def _plans(parts: Parts) -> list[tuple[int, frozenset[int], Flags, Flags]]:
    """(part, what names the training statements, training statements, statements to test on) by which a part chooses."""
    if len(parts.numbers) == 2:
        half = _halves(parts)
        return [
            (part, frozenset((part, -1 - side)), (parts.part != part) & (half == side), (parts.part != part) & (half != side))
            for part in parts.numbers
            for side in (0, 1)
        ]
    return [
        (part, frozenset((part, second)), (parts.part != part) & (parts.part != second), parts.part == second)
        for part in parts.numbers
        for second in parts.seconds(part)
    ]


def _highest(values: Mapping[int, float]) -> int:
    """The first layer of those with the largest value."""
    return max(values, key=values.__getitem__)


def _halves(parts: Parts) -> Indices:
    """[statement] 0 or 1, drawn within topics."""
    return parts_of(parts.topic, parts.group, leave_topic_out=False, seed=parts.seed + 1) % 2


def _score(parts: Parts, detector: Detector, x: npt.NDArray[np.float32], rows: Flags) -> float | Failed:
    """Mean AUROC over the topics that have true and false statements among these."""
    own = np.flatnonzero(rows)
    scores = detector.score(x[own])
    found = []
    for number in np.unique(parts.topic[own]):
        of = parts.topic[own] == number
        true = parts.true[own][of]
        if true.any() and not true.all():
            found.append(float(_auroc(scores[of][None], true)[0]))
    return float(np.mean(found)) if found else Failed("choose", "no topic has true and false statements among those to choose by")
