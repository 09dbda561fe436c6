"""Detectors trained without the statements that they are tested on, the layer chosen without these, too.

Every statement is in one part: its topic, where whole topics are left out, else one of five drawn at random, in which statements that
differ in their last word alone stay together. The detector of a part is trained on all others. Its layer, and the penalty of logistic
regression, are those with the best AUROC on a second part that is left out as well, mean over those; of two parts alone the one that
trains is halved for that. For detectors that take long to train, logistic regression chooses the layer, and they are trained there and at
a few layers more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError, Failed
from analyzers.probes.truth import C, Detector, Kind, fit, fit_logistic
from analyzers.progress import Report, quiet
from evals.probes.truth_intervals import Flags, _auroc
from evals.scores import Floats, Indices

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths that are tried for logistic regression on standardised states."""
PARTS = 5
SECONDS = 5
"""Second parts that are left out, at most, for one that is tested."""
SLOW: tuple[Kind, ...] = ("saplma", "ccs")
"""Kinds that take long to train."""
FEW_LAYERS = 6
"""At which these are trained beside the chosen ones, at most, and at which the model with random weights is probed: its states differ
little from layer to layer."""
TRAINING = "train detectors"


class Bank(Protocol):
    """States of statements, layer by layer."""

    layers: tuple[int, ...]

    def at(self, layer: int) -> npt.NDArray[np.float32]:
        """float32 [statement, width]"""
        ...

    def negations(self, layer: int) -> npt.NDArray[np.float32]:
        """float32 [pair, width] of the negations of those statements that have one."""
        ...

    @property
    def paired(self) -> Indices:
        """[pair] the statement that each negates."""
        ...


@dataclass(frozen=True, eq=False)
class Parts:
    """Statements, and which of them are left out together."""

    bank: Bank
    true: Flags
    topic: Indices
    part: Indices
    """[statement]"""
    group: Indices
    """[statement] those of one topic that must be in one part where parts are dealt at random."""
    kind: Kind
    seed: int

    @property
    def numbers(self) -> list[int]:
        """Of all parts."""
        found: list[int] = np.unique(self.part).tolist()
        return found

    def seconds(self, part: int) -> list[int]:
        """Parts that are left out beside this one to choose."""
        others = self.numbers
        at = others.index(part)
        return [others[(at + step) % len(others)] for step in range(1, min(len(others) - 1, SECONDS) + 1)]

    def train(self, layer: int, rows: Flags, *, c: float = C, kind: Kind | None = None, true: Flags | None = None) -> Detector | Failed:
        """One on these statements [statement], by default of their own labels."""
        return self.train_all(layer, [rows], c=[c], kind=kind, true=None if true is None else [true])[0]

    def train_all(
        self,
        layer: int,
        rows: Sequence[Flags],
        *,
        c: Sequence[float],
        kind: Kind | None = None,
        true: Sequence[Flags] | None = None,
    ) -> list[Detector | Failed]:
        """As `train`, for several at once, which logistic regression makes little longer."""
        kind, x, true = kind or self.kind, self.bank.at(layer), true or [self.true] * len(rows)
        if kind == "logistic":
            return fit_logistic(x, true, rows, c)
        found = []
        for own, labels in zip(rows, true, strict=True):
            pairs = None
            if kind == "ccs":
                kept = own[self.bank.paired]
                pairs = (x[self.bank.paired[kept]], self.bank.negations(layer)[kept])
            found.append(fit(kind, x[own], labels[own], seed=self.seed, pairs=pairs))
        return found


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


def parts_of(topic: Indices, group: Indices, *, leave_topic_out: bool, seed: int) -> Indices:
    """[statement] the part it is in: its topic, or one of PARTS, to which the groups [statement] of a topic are dealt at random.

    A topic of fewer groups than parts is dealt statement by statement. Raises ExplicateError for a single topic that would be left out.
    """
    if leave_topic_out:
        if len(np.unique(topic)) < 2:
            raise ExplicateError("--leave-topic-out trains on other topics, and there is one; give two files or more (--csv a.csv,b.csv)")
        return topic
    rng, found = np.random.default_rng(seed), np.zeros(len(topic), np.intp)
    for number in np.unique(topic):
        own = np.flatnonzero(topic == number)
        names, of = np.unique(group[own], return_inverse=True)
        if len(names) < PARTS:
            names, of = own, np.arange(len(own))
        found[own] = (rng.permutation(len(names)) % PARTS)[of]
    return found


def frames(texts: Sequence[str]) -> Indices:
    """[statement] a number that statements have in common which differ in nothing but their last word: a detector that has learnt that
    one of them is false would take it for granted of the other, or the contrary."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text.rstrip(" .").casefold().rpartition(" ")[0] or text, len(seen)) for text in texts], np.intp)


def check_enough(parts: Parts, names: Sequence[str]) -> None:
    """Raise ExplicateError where a topic has too few statements to be trained and tested on."""
    for number, name in enumerate(names):
        for label, word in ((True, "true"), (False, "false")):
            if (count := int(((parts.topic == number) & (parts.true == label)).sum())) < PARTS:
                raise ExplicateError(
                    f"the topic {name!r} has {count} {word} statements that can be read, of {PARTS} needed; give more, or raise --limit"
                )


def spread(layers: Sequence[int]) -> list[int]:
    """FEW_LAYERS of the layers, or all where they are fewer, the first and the last among them."""
    return sorted({layers[round(at)] for at in np.linspace(0, len(layers) - 1, FEW_LAYERS)})


def held_out(parts: Parts, layers: Sequence[int], *, what: str = TRAINING, report: Report = quiet) -> HeldOut | Failed:
    """The log-odds of every statement at every layer, of detectors that were not trained on its part; the layer of each part by choice.

    SLOW detectors have them at the layers that logistic regression has chosen and at a spread of others. what: the work that is reported.
    Failed where a detector cannot be trained.
    """
    if parts.kind in SLOW:
        chosen = held_out(replace(parts, kind="logistic"), layers, what=f"{what}: choose layers", report=report)
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
        if isinstance(detector, Failed):
            failed = detector
        else:
            found[part].append(_score(parts, detector, x, test))
    # CCS may lack pairs where the only topics with any are left out.
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


def _score(parts: Parts, detector: Detector, x: npt.NDArray[np.float32], rows: Flags) -> float:
    """Mean AUROC over the topics that have true and false statements among these."""
    own = np.flatnonzero(rows)
    scores = detector.score(x[own])
    found = []
    for number in np.unique(parts.topic[own]):
        of = parts.topic[own] == number
        true = parts.true[own][of]
        if true.any() and not true.all():
            found.append(float(_auroc(scores[of][None], true)[0]))
    return float(np.mean(found)) if found else 0.5
