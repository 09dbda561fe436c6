"""The instrument is tested before it is used: can this simulator tell true explanations of planted neurons from false ones?

Every explanation of a planted neuron is simulated on the neuron's sentences and scored by Pearson's correlation over all their tokens;
a simulator that predicts levels is scored with null contrast, and without it beside ("raw"). Three figures say how the scores rank:

within   share of false explanations that score below the true explanation of the same neuron
auroc    the same over all pairs of a true and a false explanation, of whatever neurons: needs scores that compare across neurons
first    share of neurons whose true explanation scores above all its false ones

Ties count half. A pair with a member that has no score counts as not ranked: it stays in the denominator, so that failing can never
look like judging well. Chance is .5 for `within` and `auroc`. Intervals are over planted neurons.

A kind is judged where the interval of `within` stays above chance, a simulator that knows nothing would rank so well once in 20 tests
at most (exactly, over all kinds of the test together: evals.statistics.luck), and true explanations come first more often than not. The
last is for conditional rules: a simulator that takes "numbers, only of people" for "numbers" beats the unrelated explanations, and so
chance, but it ties with the bare word.

Results are kept beside the reply cache, one file for each instrument and set of planted neurons, for later runs to show.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from agents.llm import LLM
from agents.simulators import Simulator
from analyzers.errors import ExplicateError, Failed
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from evals.cautions import CHANCE
from evals.planted import Planted, fingerprint, planted
from evals.results import Failure, Instrument, Value, failure
from evals.run_folder import write_json
from evals.scores import Floats, Masked
from evals.site_scores import pearson_of
from evals.statistics import benjamini_hochberg, bootstrap, luck

FORMAT = 2
"""Version of a kept result; those of other versions are not found."""
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
    """Pearson, with null contrast where the simulator predicts levels."""
    raw: float | Failure
    """Pearson of the simulation as it is."""


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

    luck: float
    """Chance that a simulator that knows nothing ranks at least as many false explanations below the true one of the same neuron."""


class SelftestResult(_Model):
    """How a simulator did on planted neurons."""

    simulator: str
    planted: str
    """Fingerprint of the planted neurons."""
    null_contrast: bool
    """Whether `overall` and `kinds` are of scores with null contrast; else they equal the raw ones."""
    overall: Ranking
    kinds: dict[str, Ranking]
    raw_overall: Ranking
    raw_kinds: dict[str, Ranking]
    explanations: list[Explained]
    """The true explanation of each neuron, followed by its false ones."""

    @property
    def judged(self) -> list[str]:
        """Kinds on which true explanations are told from false ones."""
        lucky = benjamini_hochberg([ranking.luck for ranking in self.kinds.values()])
        return [
            kind
            for (kind, ranking), chance in zip(self.kinds.items(), lucky, strict=True)
            if isinstance(ranking.within, Value)
            and ranking.within.low > CHANCE
            and isinstance(ranking.first, Value)
            and ranking.first.value > CHANCE
            and chance is not None
            and chance < LUCK
        ]

    @property
    def n_failed(self) -> int:
        """Explanations without a score."""
        return sum(isinstance(row.score, Failure) for row in self.explanations)

    @property
    def instrument(self) -> Instrument:
        """What stands beside every score that this simulator gives."""
        return Instrument(
            simulator=self.simulator,
            auroc=self.overall.auroc,
            within=self.overall.within,
            kinds={kind: ranking.within for kind, ranking in self.kinds.items()},
            cannot_judge=[kind for kind in self.kinds if kind not in self.judged],
            first={kind: ranking.first for kind, ranking in self.kinds.items()},
            raw={"auroc": self.raw_overall.auroc, "within": self.raw_overall.within},
            n_explanations=len(self.explanations),
            n_failed=self.n_failed,
        )


async def selftest(simulator: Simulator, neurons: Sequence[Planted], *, seed: int = 0, report: Report = quiet) -> SelftestResult:
    """Score true and false explanations of planted neurons with a simulator, and say how well the scores tell them apart.

    The seed draws the bootstrap samples only. What the language model raises (no access, a limit) passes through.
    """
    contrast = simulator.scale == "level"
    rows: list[Explained] = []
    for done, neuron in enumerate(neurons):
        report("selftest", done, len(neurons))
        rows += await _explained(simulator, neuron, contrast=contrast)
    report("selftest", len(neurons), len(neurons))
    kinds = list(dict.fromkeys(row.kind for row in rows))
    of_kind = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    return SelftestResult(
        simulator=simulator.name,
        planted=fingerprint(neurons),
        null_contrast=contrast,
        overall=rank(rows, seed=seed),
        kinds={kind: rank(of_kind[kind], seed=seed) for kind in kinds},
        raw_overall=rank(rows, raw=True, seed=seed),
        raw_kinds={kind: rank(of_kind[kind], raw=True, seed=seed) for kind in kinds},
        explanations=rows,
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
    unranked = sum(other is None or true[name] is None for name in names for other in false[name])

    def within(weights: Floats) -> Masked:
        return np.ma.masked_array((weights @ below.diagonal()) / (weights @ count))

    def auroc(weights: Floats) -> Masked:
        above = np.einsum("di,ij,dj->d", weights, below, weights, optimize=True)
        return np.ma.masked_array(above / (weights.sum(axis=1) * (weights @ count)))

    def first(weights: Floats) -> Masked:
        return np.ma.masked_array((weights @ best) / weights.sum(axis=1))

    values: Mapping[str, Value | Failed]
    if unranked == pairs:
        reasons = sorted({got.reason for row in rows if isinstance(got := row.raw if raw else row.score, Failure)})
        failed = Failed("selftest", f"none of {pairs} pairs could be ranked: {'; '.join(reasons[:3])}")
        values = dict.fromkeys(("within", "auroc", "first"), failed)
    else:
        values = bootstrap({"within": within, "auroc": auroc, "first": first}, len(names), n=len(names), seed=seed)
    figures = {name: _outcome(value) for name, value in values.items()}
    chance = luck(float(below.diagonal().sum()), [len(false[name]) for name in names])
    return Ranking(neurons=len(names), pairs=pairs, unranked=unranked, luck=chance, **figures)


def identity(simulator: Simulator, llm: LLM | None = None) -> dict[str, str]:
    """What must be equal for a result to speak for another simulator: its name, its prompt and its language model."""
    of_llm = {} if llm is None else {f"llm {key}": value for key, value in llm.identity.items()}
    return {"simulator": simulator.name, "prompt": simulator.prompt, **of_llm}


def store(result: SelftestResult, of: Mapping[str, str]) -> Path:
    """Keep the result of the instrument with this identity; returns its file."""
    path = _file(of, result.planted)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"identity": dict(of), "result": result.model_dump(mode="json")})
    return path


def known(of: Mapping[str, str], planted_fingerprint: str | None = None) -> Instrument | None:
    """How the instrument with this identity did on planted neurons, by default on the set that comes along; None if it was never tested.

    Raises ExplicateError where the kept file is damaged.
    """
    path = _file(of, fingerprint(planted()) if planted_fingerprint is None else planted_fingerprint)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return SelftestResult.model_validate(kept["result"]).instrument
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, TypeError, KeyError):
        raise ExplicateError(f"the selftest kept in {str(path)!r} is damaged; remove the file and run `explicate selftest` again") from None


def _file(of: Mapping[str, str], planted_fingerprint: str) -> Path:
    key = json.dumps({"format": FORMAT, "identity": dict(of), "planted": planted_fingerprint}, sort_keys=True)
    return settings().replies.parent / "instruments" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


async def _explained(simulator: Simulator, neuron: Planted, *, contrast: bool) -> list[Explained]:
    """All explanations of one neuron with their scores."""
    excerpts = neuron.excerpts()
    said = [neuron.explanation, *neuron.false_explanations]
    tasks = [asyncio.ensure_future(simulator.simulate(text, excerpts)) for text in ([*said, ""] if contrast else said)]
    try:
        outcomes = await asyncio.gather(*tasks)
    finally:
        # After an error the other simulations of this neuron are of no use.
        for task in tasks:
            task.cancel()
    null = outcomes[-1] if contrast else None
    return [
        Explained(
            neuron=neuron.name,
            kind=neuron.kind,
            explanation=text,
            true=index == 0,
            score=_outcome(pearson_of(excerpts, outcomes[index], null)),
            raw=_outcome(pearson_of(excerpts, outcomes[index], None)),
        )
        for index, text in enumerate(said)
    ]


def _below(true: float | None, false: float | None) -> float:
    """1 where the false explanation ranks below the true one, half for a tie, 0 above it or where one has no score."""
    return 0.0 if true is None or false is None else float(np.heaviside(true - false, 0.5))


def _outcome(value: T | Failed) -> T | Failure:
    return failure(value) if isinstance(value, Failed) else value
