"""Detectors trained without the statements that they are tested on, the layer chosen without these, too.

Every statement is in one part: its topic, where whole topics are left out, else one of five drawn at random, in which statements that
differ in their last word alone stay together. The detector of a part is
trained on all others. Its layer, and the penalty of logistic regression, are those with the best AUROC on a second part that is left out
as well, mean over those; of two parts alone the one that trains is halved for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError, Failed
from analyzers.probes.truth import C, Detector, Kind, fit
from analyzers.progress import Report, quiet
from evals.probes.truth_intervals import Flags, _auroc
from evals.scores import Floats, Indices

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths that are tried for logistic regression on standardised states."""
PARTS = 5
SECONDS = 5
"""Second parts that are left out, at most, for one that is tested."""
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
        kind, x = kind or self.kind, self.bank.at(layer)
        pairs = None
        if kind == "ccs":
            kept = rows[self.bank.paired]
            pairs = (x[self.bank.paired[kept]], self.bank.negations(layer)[kept])
        return fit(kind, x[rows], (self.true if true is None else true)[rows], seed=self.seed, pairs=pairs, c=c)


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


def held_out(parts: Parts, layers: Sequence[int], *, report: Report = quiet) -> HeldOut | Failed:
    """The log-odds of every statement at every layer, of detectors that were not trained on its part; the layer of each part by choice.

    Failed where a detector cannot be trained.
    """
    penalties = PENALTIES if parts.kind == "logistic" else (C,)
    penalty = dict.fromkeys(parts.numbers, penalties[0])
    if len(penalties) > 1:
        middle = layers[len(layers) // 2]
        best = dict.fromkeys(parts.numbers, -np.inf)
        for c in penalties:
            tried = _inner(parts, middle, dict.fromkeys(parts.numbers, c))
            if isinstance(tried, Failed):
                return tried
            for part, value in tried.items():
                if value > best[part]:
                    best[part], penalty[part] = value, c
    scores: dict[int, Floats] = {}
    inner: dict[int, dict[int, float]] = {}
    for done, layer in enumerate(layers):
        report(TRAINING, done, len(layers))
        found = _inner(parts, layer, penalty)
        if isinstance(found, Failed):
            return found
        told = outer(parts, layer, penalty)
        if isinstance(told, Failed):
            return told
        inner[layer], scores[layer] = found, told
    report(TRAINING, len(layers), len(layers))
    chosen = {part: _highest({layer: told[part] for layer, told in inner.items()}) for part in parts.numbers}
    return HeldOut(scores, chosen, penalty, parts.part, inner)


def outer(
    parts: Parts, layer: int | Mapping[int, int], penalty: Mapping[int, float], *, kind: Kind | None = None, true: Flags | None = None
) -> Floats | Failed:
    """[statement] log-odds of detectors that were trained on all other parts; layer: the same for all parts, or by part.

    true: labels to train on in place of their own.
    """
    found = np.empty(len(parts.true))
    for part in parts.numbers:
        own, at = parts.part == part, layer if isinstance(layer, int) else layer[part]
        detector = parts.train(at, ~own, c=penalty[part], kind=kind, true=true)
        if isinstance(detector, Failed):
            return detector
        found[own] = detector.score(parts.bank.at(at)[own])
    return found


def _inner(parts: Parts, layer: int, penalty: Mapping[int, float]) -> dict[int, float] | Failed:
    """By part, the mean AUROC on second parts of detectors that were trained on neither."""
    x = parts.bank.at(layer)
    found: dict[int, list[float]] = {part: [] for part in parts.numbers}
    failed: Failed | None = None
    if len(found) == 2:
        half = _halves(parts)
        for part, told in found.items():
            for side in (0, 1):
                detector = parts.train(layer, (parts.part != part) & (half == side), c=penalty[part])
                if isinstance(detector, Failed):
                    failed = detector
                else:
                    told.append(_score(parts, detector, x, (parts.part != part) & (half != side)))
    else:
        # Leaving out a and b serves both: a's choice is tested on b and b's on a.
        trained: dict[tuple[frozenset[int], float], Detector | Failed] = {}
        for part, told in found.items():
            for second in parts.seconds(part):
                key = (frozenset((part, second)), penalty[part])
                if key not in trained:
                    trained[key] = parts.train(layer, (parts.part != part) & (parts.part != second), c=penalty[part])
                if isinstance(detector := trained[key], Failed):
                    failed = detector
                else:
                    told.append(_score(parts, detector, x, parts.part == second))
    # CCS may lack pairs where the only topics with any are left out.
    if failed is not None and not all(found.values()):
        return failed
    return {part: float(np.mean(each)) for part, each in found.items()}


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
