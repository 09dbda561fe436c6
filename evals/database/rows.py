"""What the database gives back: one frozen type a kind of row."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from evals.results import Failure, Value

Row = TypeVar("Row")


def run_id(folder: Path) -> str:
    """Id of the run in a folder: a hash of its absolute path, with links resolved, so that importing it again finds the same row."""
    return hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class RunRow:
    """One run, or one task of a suite's run."""

    id: str
    parent: str | None
    """Id of the suite's run that it is a task of."""
    folder: str
    """Absolute; it need not exist any more."""
    kind: str
    """label, audit, confidence or suite."""
    name: str
    """Of the suite, of the task, or of the folder."""
    suite: str
    """Of the suite that it is a run, or part of a run, of; empty for a run of its own."""
    series: str
    """What its history and its baseline go by: the suite's name, of a task SUITE/TASK, else its own name."""
    model: str
    status: str
    """done, failed (a task of the suite did), or stopped (by a limit)."""
    void: bool
    started: datetime | None
    """None where the folder does not tell."""
    finished: datetime
    code: str | None
    version: str | None
    calls: int | None
    """Made; None where none can be made, as in a replay."""
    tokens: int | None
    """Of prompts and completions."""
    usd: float | None
    provenance: Mapping[str, Any]
    """What the manifest tells of where the numbers come from: identities of models, prompts, code, corpus or task."""
    indexed_at: datetime


@dataclass(frozen=True)
class MetricRow:
    """One metric of one run."""

    run_id: str
    task: str
    """Empty for a run of its own."""
    name: str
    of: str
    """What it is of; empty for the means of labels."""
    value: Value | Failure
    n_failed: int
    better: Literal["higher", "lower", ""]


@dataclass(frozen=True)
class SiteRow:
    """One side of one neuron in a labelling run. A number is None where it failed or does not exist."""

    run_id: str
    position: int
    """From 0, in the order of the run's results."""
    site: str
    polarity: Literal["+", "-"]
    layer: int
    explanation: str | None
    score: float | None
    """The headline score (evals.results.headline)."""
    lift: float | None
    q_value: float | None
    failed: str | None
    """Why there is no explanation, no score or no lift: the first of these."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some of the rows that were asked for, and how many there are."""

    rows: list[Row]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True)
class Reindexed:
    """What a search for run folders found."""

    found: int
    """Folders of runs, tasks of suites not counted."""
    added: int
    """Those of them that are in the database now."""
    failed: list[tuple[str, str]]
    """Folders that were skipped, and why."""
