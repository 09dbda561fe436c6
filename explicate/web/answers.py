"""What the JSON beside the pages says of runs and metrics."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from evals.database import MetricRow, RunRow
from evals.results import Failure, Value


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class RunAnswer(_Answer):
    """A run. Times are UTC."""

    id: str
    parent: str | None
    series: str
    """What its history and its baseline go by."""
    kind: str
    name: str
    suite: str
    model: str
    status: str
    void: bool
    started: datetime | None
    finished: datetime
    code: str | None
    version: str | None
    calls: int | None
    tokens: int | None
    usd: float | None
    folder: str
    provenance: Mapping[str, Any]


class MetricAnswer(_Answer):
    """A metric of a run: a value with its interval, or why there is none."""

    task: str
    name: str
    of: str
    value: Value | Failure
    n_failed: int
    better: Literal["higher", "lower", ""]


class RunsAnswer(_Answer):
    """A page of runs, and how many there are."""

    rows: Sequence[RunAnswer]
    total: int
    limit: int
    offset: int


class OneRunAnswer(_Answer):
    """A run with its metrics."""

    run: RunAnswer
    metrics: Sequence[MetricAnswer]
    baseline: str | None
    """Id of the run that its series is held against."""


def of_run(run: RunRow) -> RunAnswer:
    """As JSON has it."""
    return RunAnswer.model_validate(run)


def of_metric(metric: MetricRow) -> MetricAnswer:
    """As JSON has it."""
    return MetricAnswer.model_validate(metric)
