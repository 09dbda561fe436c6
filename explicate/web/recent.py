"""What the page of runs asks of the database, in few statements however many runs there are."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, func, select

from evals.database import Database, MetricRow, RunRow
from evals.database.tables import alert, metric, run
from evals.metrics import Key
from evals.results import Failure, Value


@dataclass(frozen=True)
class Alarm:
    """A metric of a series of runs that is worse than its baseline, failed, or is missing."""

    series: str
    task: str
    name: str
    """Empty where metrics of the task are missing."""
    of: str
    state: str
    since: datetime
    last_run: str | None

    @property
    def key(self) -> Key:
        return self.task, self.name, self.of


@dataclass(frozen=True)
class Moment:
    """A metric at one run."""

    run_id: str
    finished: datetime
    value: Value | Failure


def series(database: Database, limit: int) -> list[tuple[str, str, int]]:
    """The series of runs that ran last: name, kind, and how many runs they have."""
    last = func.max(run.c.finished).desc()
    wanted = (
        select(run.c.series, func.max(run.c.kind), func.count())
        .where(run.c.parent.is_(None))
        .group_by(run.c.series)
        .order_by(last, run.c.series)
        .limit(limit)
    )
    with database.engine.connect() as connection:
        return [(each[0], each[1], each[2]) for each in connection.execute(wanted)]


def trends(
    database: Database, of_series: str, keys: Collection[Key], limit: int, *, until: RunRow | None = None
) -> dict[Key, list[Moment]]:
    """Each metric at the last runs of a series (up to one of them), oldest first; runs that lack it are left out."""
    wanted_runs = (
        select(run.c.id, run.c.finished).where(run.c.series == of_series).order_by(run.c.finished.desc(), run.c.id.desc()).limit(limit)
    )
    if until is not None:
        wanted_runs = wanted_runs.where(run.c.finished <= until.finished)
    last = wanted_runs.subquery()
    wanted = (
        select(metric, last.c.finished)
        .join(last, metric.c.run_id == last.c.id)
        .where(metric.c.name.in_(sorted({name for _, name, _ in keys})))
        .order_by(last.c.finished, last.c.id)
    )
    found: dict[Key, list[Moment]] = {key: [] for key in keys}
    with database.engine.connect() as connection:
        for each in connection.execute(wanted):
            key = (each.task, each.name, each.of)
            if key in found:
                found[key].append(Moment(each.run_id, each.finished, value_of(each)))
    return found


def metrics_of(database: Database, runs: Sequence[str], names: Collection[str]) -> dict[str, list[MetricRow]]:
    """The metrics of these names, by run, in the order of its results."""
    wanted = (
        select(metric).where(metric.c.run_id.in_(list(runs)), metric.c.name.in_(list(names))).order_by(metric.c.run_id, metric.c.position)
    )
    found: dict[str, list[MetricRow]] = {each: [] for each in runs}
    with database.engine.connect() as connection:
        for each in connection.execute(wanted):
            found[each.run_id].append(MetricRow(each.run_id, each.task, each.name, each.of, value_of(each), each.n_failed, each.better))
    return found


def alarms(database: Database, limit: int) -> list[Alarm]:
    """What is worse than its baseline now, the newest first, and of one run what regressed before what failed."""
    order = alert.c.since.desc(), case((alert.c.state == "regressed", 0), else_=1), alert.c.key
    wanted = select(alert).where(alert.c.state != "fine").order_by(*order).limit(limit)
    with database.engine.connect() as connection:
        return [_alarm(each) for each in connection.execute(wanted)]


def _alarm(found: Row[Any]) -> Alarm:
    task, name, of = json.loads(found.key)
    return Alarm(found.suite, task, name, of, found.state, found.since, found.last_run)


def value_of(found: Row[Any]) -> Value | Failure:
    """A row of the table of metrics as a value."""
    if found.value is None:
        return Failure(stage=found.stage or "", reason=found.failure or "")
    return Value(value=found.value, low=found.low, high=found.high, n=found.n or 0)
