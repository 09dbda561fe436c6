"""Which statements are left out of training together.

Every statement is in one part: its topic, where whole topics are left out, else one of five drawn at random, in which statements that
differ in their last word alone stay together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError, Failed
from analyzers.probes.truth import C, Detector, Kind, fit, fit_logistic
from evals.probes.truth_intervals import Flags
from evals.scores import Indices

PARTS = 5
SECONDS = 5
"""Second parts that are left out, at most, for one that is tested."""


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
