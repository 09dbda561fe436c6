"""How scores rank true over false explanations of planted neurons: the figures of every selftest.

within   share of false explanations that score below the true explanation of the same neuron
auroc    the same over all pairs of a true and a false explanation, of whatever neurons: needs scores that compare across neurons
first    share of neurons whose true explanation scores above all its false ones
longer   `within` over the pairs whose false explanation is at least as long as the true one, in characters: true explanations are often
         the longer ones, above all of conditional rules, so whatever likes length ranks well without knowing anything

Ties count half. A pair with a member that has no score counts as not ranked: it stays in the denominator, so that failing can never
look like judging well. Chance is .5 for `within` and `auroc`. Intervals are over planted neurons.

A kind is judged where the interval of `within` stays above chance, an instrument that knows nothing would rank so well once in 20 tests
at most (exactly, over all kinds of the test together: evals.statistics.luck), and true explanations come first more often than not. The
last is for conditional rules: a simulator that takes "numbers, only of people" for "numbers" beats the unrelated explanations, and so
chance, but it ties with the bare word.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from analyzers.errors import Failed
from evals.cautions import CHANCE
from evals.results import Failure, Instrument, Value, failure
from evals.scores import Floats, Masked
from evals.statistics import benjamini_hochberg, bootstrap, luck

LUCK = 0.05
"""Chance below which knowing nothing does not explain a kind's ranking, after Benjamini-Hochberg over the kinds."""

T = TypeVar("T")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Explained(_Model):
    """One explanation of a planted neuron and its score."""

    neuron: str
    kind: str
    explanation: str
    true: bool
    score: float | Failure
    """Of a simulator: Pearson, with null contrast where it predicts levels; of a scorer: its measure."""
    raw: float | Failure | None = None
    """Of a simulator: Pearson of the simulation as it is."""


class Ranking(_Model):
    """How the scores of some planted neurons rank true over false explanations."""

    neurons: int
    pairs: int
    """Of the true and a false explanation of one neuron."""
    unranked: int
    """Pairs among them with a member that has no score."""
    within: Value | Failure
    auroc: Value | Failure
    first: Value | Failure
    longer: Value | Failure | None = None
    """None in results kept by earlier versions."""
    luck: float
    """Chance that an instrument that knows nothing ranks at least as many false explanations below the true one of the same neuron."""


class Tested(_Model):
    """How an instrument did on planted neurons."""

    planted: str
    """Fingerprint of the planted neurons."""
    overall: Ranking
    kinds: dict[str, Ranking]
    explanations: list[Explained]
    """The true explanation of each neuron, followed by its false ones."""

    @property
    def judged(self) -> list[str]:
        """Kinds on which true explanations are told from false ones."""
        return judged([self])[0]

    @property
    def n_failed(self) -> int:
        """Explanations without a score."""
        return sum(isinstance(row.score, Failure) for row in self.explanations)

    def told(self, name: str) -> Instrument:
        """What stands beside every score that the instrument of that name gives."""
        return Instrument(
            simulator=name,
            auroc=self.overall.auroc,
            within=self.overall.within,
            kinds={kind: ranking.within for kind, ranking in self.kinds.items()},
            cannot_judge=[kind for kind in self.kinds if kind not in self.judged],
            first={kind: ranking.first for kind, ranking in self.kinds.items()},
            n_explanations=len(self.explanations),
            n_failed=self.n_failed,
        )


def judged(tests: Sequence[Tested]) -> list[list[str]]:
    """[test] the kinds that each judges; luck is held against all kinds of all tests together, since whoever compares many instruments
    finds a lucky one."""
    lucky = iter(benjamini_hochberg([ranking.luck for test in tests for ranking in test.kinds.values()]))
    return [[kind for kind, ranking in test.kinds.items() if _judges(ranking, next(lucky))] for test in tests]


def _judges(ranking: Ranking, chance: float | None) -> bool:
    return (
        isinstance(ranking.within, Value)
        and ranking.within.low > CHANCE
        and isinstance(ranking.first, Value)
        and ranking.first.value > CHANCE
        and chance is not None
        and chance < LUCK
    )


def rank(rows: Sequence[Explained], *, raw: bool = False, seed: int = 0) -> Ranking:
    """`within`, `auroc` and `first` of scored explanations, one true one a neuron, with bootstrap intervals over neurons."""
    names = list(dict.fromkeys(row.neuron for row in rows))
    true: dict[str, float | None] = {}
    false: dict[str, list[float | None]] = {name: [] for name in names}
    for row in rows:
        got = row.raw if raw else row.score
        value = None if isinstance(got, Failure) else got
        if row.true:
            true[row.neuron] = value
        else:
            false[row.neuron].append(value)
    # below[i, j]: false explanations of neuron j that score below the true one of neuron i
    below = np.array([[sum(_below(true[i], other) for other in false[j]) for j in names] for i in names])
    best = np.array([min(_below(true[name], other) for other in false[name]) for name in names])
    count = np.array([len(false[name]) for name in names], np.float64)
    pairs = int(count.sum())
    length = {row.neuron: len(row.explanation) for row in rows if row.true}
    at_least = {name: [len(row.explanation) >= length[name] for row in rows if row.neuron == name and not row.true] for name in names}
    longer_below = np.array(
        [sum(_below(true[name], other) for other, long in zip(false[name], at_least[name], strict=True) if long) for name in names]
    )
    longer_count = np.array([sum(at_least[name]) for name in names], np.float64)
    unranked = sum(other is None or true[name] is None for name in names for other in false[name])

    def within(weights: Floats) -> Masked:
        return np.ma.masked_array((weights @ below.diagonal()) / (weights @ count))

    def auroc(weights: Floats) -> Masked:
        above = np.einsum("di,ij,dj->d", weights, below, weights, optimize=True)
        return np.ma.masked_array(above / (weights.sum(axis=1) * (weights @ count)))

    def first(weights: Floats) -> Masked:
        return np.ma.masked_array((weights @ best) / weights.sum(axis=1))

    def longer(weights: Floats) -> Masked:
        there = weights @ longer_count
        return np.ma.masked_array((weights @ longer_below) / np.maximum(there, 1), there == 0)

    values: Mapping[str, Value | Failed]
    if unranked == pairs:
        reasons = sorted({got.reason for row in rows if isinstance(got := row.raw if raw else row.score, Failure)})
        failed = Failed("selftest", f"none of {pairs} pairs could be ranked: {'; '.join(reasons[:3])}")
        values = dict.fromkeys(("within", "auroc", "first", "longer"), failed)
    else:
        values = bootstrap({"within": within, "auroc": auroc, "first": first, "longer": longer}, len(names), n=len(names), seed=seed)
    figures = {name: outcome(value) for name, value in values.items()}
    chance = luck(float(below.diagonal().sum()), [len(false[name]) for name in names])
    return Ranking(neurons=len(names), pairs=pairs, unranked=unranked, luck=chance, **figures)


def by_kind(rows: Sequence[Explained], *, raw: bool = False, seed: int = 0) -> dict[str, Ranking]:
    """`rank` of each kind's explanations alone, the kinds in order of appearance."""
    kinds = dict.fromkeys(row.kind for row in rows)
    return {kind: rank([row for row in rows if row.kind == kind], raw=raw, seed=seed) for kind in kinds}


def outcome(value: T | Failed) -> T | Failure:
    """As a kept result holds it."""
    return failure(value) if isinstance(value, Failed) else value


def _below(true: float | None, false: float | None) -> float:
    """1 where the false explanation ranks below the true one, half for a tie, 0 above it or where one has no score."""
    return 0.0 if true is None or false is None else float(np.heaviside(true - false, 0.5))
