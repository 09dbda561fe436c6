"""What an experiment ends with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.explanation import Explanation


@dataclass(frozen=True)
class Clause:
    """A part of an explanation that can hold, or not, by itself."""

    text: str
    experiments: tuple[int, ...]
    """Numbers of the experiments that support it, from 1."""
    supported: bool
    """Whether there is any such experiment: a clause without one is kept, and said to be without."""


@dataclass(frozen=True)
class Experimented:
    """An explanation with the experiments behind it."""

    explanation: Explanation
    """The clauses, divided by semicolons."""
    clauses: tuple[Clause, ...]
    confidence: float | None
    """0 to 1, as the model states it, or the share of predictions that held where the plan is fixed; None where it gave no answer."""
    stopped: str
    """Why it ended before its answer was accepted; empty where it was."""
    on_budget: bool
    """Whether it was stopped by a limit of the whole run, so that it may go on when that is raised."""
    model_calls: int
    tokens: int
    """At their upper estimate."""
    steps: tuple[Mapping[str, Any], ...]
    """Rows for the steps file, JSON objects: `replay` reads them."""
