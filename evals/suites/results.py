"""The contract of a suite's results.json (docs/results.md): additive, as that of the other commands."""

from typing import Any, Literal

from pydantic import Field

from evals.comparison.results import Threshold
from evals.results import SCHEMA, Calls, Failure, Tokens, _Model

Kind = Literal["label", "audit", "confidence"]
Status = Literal["done", "failed", "stopped"]


class TaskOutcome(_Model):
    """How a task of a suite ended; what it found is in its own folder."""

    name: str
    kind: Kind
    status: Status
    """done; failed: it could not be run; stopped: a limit kept some of it from being done."""
    failure: Failure | None = None
    folder: str
    """Within the suite's: `tasks/NAME`, a run folder like any other."""
    void: bool = False
    """True where so much failed that its figures are not to be used."""
    report: str | None = None
    """Its page, within the suite's folder."""


class SuiteResults(_Model):
    """results.json of a suite."""

    schema_version: int = SCHEMA
    name: str
    tasks: list[TaskOutcome]
    started: str
    """ISO 8601, UTC."""
    finished: str
    calls: Calls
    """Of the command that wrote these results."""
    tokens: Tokens
    usd: float
    unpriced: list[str] = Field(default_factory=list)
    """Models whose price is not known: `usd` leaves them out."""
    alpha: float = 0.05
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """By which the suite is held against its baseline."""
    manifest: dict[str, Any] = Field(default_factory=dict)

    @property
    def n_done(self) -> int:
        return sum(task.status == "done" for task in self.tasks)
