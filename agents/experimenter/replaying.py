"""An experiment over again from its steps, without a model."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from agents.experimenter.arguments import read
from agents.experimenter.bench import Live
from agents.experimenter.ended import ended
from agents.experimenter.lab import Laboratory
from agents.experimenter.limits import ExperimentLimits
from agents.experimenter.outcome import Experimented
from agents.experimenter.rows import Step, read_rows
from agents.experimenter.session import Session
from analyzers.errors import Failed, RunFolderError
from prompts import load

ON_SITE = frozenset({"activations", "edits", "output_tokens", "ablation", "steering"})
"""Tools that measure on the subject alone, and so can be measured again."""
STRENGTH_APART, NATS_APART = 0.11, 0.0011
"""Differences of strengths and logits, and of divergences, that rounding and another machine's arithmetic make."""


@dataclass(frozen=True)
class Difference:
    """Where a replay does not find what was found."""

    step: int
    """Number of the call, from 1."""
    tool: str
    where: str
    """Path within the result: `texts.0.peak`."""
    recorded: Any
    found: Any


@dataclass(frozen=True)
class Replayed:
    """An experiment over again."""

    outcome: Experimented | Failed
    differences: tuple[Difference, ...]
    """Of what was measured again, and of what each call came to by the rules of an experiment."""


class _Recorded:
    """Finds what was found."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = iter(steps)
        self.now: Step | None = None

    def turn(self) -> Step | None:
        self.now = next(self._steps, None)
        return self.now

    async def measure(self, name: str, arguments: BaseModel) -> Mapping[str, Any] | Failed:  # noqa: ARG002
        assert self.now is not None
        error = self.now.result.get("error")
        return self.now.result if error is None else Failed("experiment", str(error))


async def replay(steps: Iterable[Mapping[str, Any]], lab: Laboratory | None = None) -> Replayed:
    """Carry out the calls of a steps file again and come to the same explanation, clauses and confidence, without a model.

    What the experiments found is taken from the rows; with a laboratory, what they measured on the site is measured again, too, and
    told where it differs. Raises RunFolderError for rows that are not those of one whole experiment.
    """
    start, calls, end = read_rows(steps)
    try:
        limits = ExperimentLimits(**dict(start.limits))  # type: ignore[arg-type]
    except TypeError as error:
        raise RunFolderError(f"the limits of an experiment are not those that this explicate knows ({error})") from error
    bench = _Recorded(calls)
    session = Session(bench, limits, start, load("experimenter"))
    live = None if lab is None else Live(lab, (), start.peak, score_on_select=None, seed=start.seed)
    differences: list[Difference] = []
    number = 0
    while (step := bench.turn()) is not None:
        number += 1
        try:
            result = await session.perform(step.name, step.arguments, step.raw)
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"step {number} of an experiment holds no result that {step.name!r} gives: it is damaged") from error
        differences += _differences(number, step, result.data)
        if live is not None and step.experiment is not None and step.name in ON_SITE:
            arguments = read(step.name, step.arguments or {})
            if isinstance(arguments, str):
                raise RunFolderError(f"step {number} of an experiment measured with arguments that do not fit ({arguments}): it is damaged")
            found = await live.measure(step.name, arguments)
            differences += _differences(number, step, {"error": found.reason} if isinstance(found, Failed) else found)
    return Replayed(ended(session, end), tuple(differences))


def _differences(number: int, step: Step, found: Mapping[str, Any]) -> list[Difference]:
    apart = NATS_APART if step.name == "ablation" else STRENGTH_APART
    return [Difference(number, step.name, where, old, new) for where, old, new in _unlike(step.result, found, "", apart)]


def _unlike(old: Any, new: Any, where: str, apart: float) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _unlike(old.get(key), new.get(key), f"{where}.{key}".strip("."), apart)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _unlike(one, other, f"{where}.{place}".strip("."), apart)
    elif isinstance(old, int | float) and isinstance(new, int | float):
        if not math.isclose(old, new, rel_tol=0.02, abs_tol=apart):
            yield where, old, new
    elif old != new:
        yield where, old, new
