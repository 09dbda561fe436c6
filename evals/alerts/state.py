"""What is news: a metric whose state is not the one that was last told; the states outlive the process, in the results database."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field, TypeAdapter

from evals.comparison.results import Change, Comparison
from evals.results import _Model

if TYPE_CHECKING:
    from evals.database import Database

State = Literal["regressed", "failed", "missing", "fine"]
News = Literal["regressed", "failed", "missing", "recovered"]
_STATE: TypeAdapter[State] = TypeAdapter(State)
_OF_VERDICT: dict[str, State] = {
    "regressed": "regressed",
    "failed": "failed",
    "improved": "fine",
    "unchanged": "fine",
    "recovered": "fine",
}
"""By verdict; `not comparable` is no evidence of either, and leaves the state as it is."""
_TICK = timedelta(microseconds=1)


class Event(_Model):
    """A change of state that somebody is to hear of."""

    id: str
    """The same whenever it is sent again, so that a receiver can tell that it knows it."""
    suite: str
    key: str
    """JSON list of task, name and of; of a task whose metrics are missing, the task and two empty texts."""
    task: str
    name: str
    of: str
    state: News
    since: datetime
    run: str
    """Folder of the run that showed it."""
    baseline: str
    change: Change | None
    """None where metrics are missing, and when they are back."""
    missing: list[str] = Field(default_factory=list)
    """Metrics of the baseline that the task lacks."""


@dataclass(frozen=True)
class _Now:
    """What a comparison says of one key."""

    state: State
    change: Change | None = None
    missing: tuple[str, ...] = ()


def changes_of_state(
    database: "Database", suite: str, comparison: Comparison, *, run: str = "", now: datetime | None = None
) -> list[Event]:
    """Record the states that a comparison shows, and return what nobody has been told of yet, in the order of the comparison.

    An event comes back from every call until `mark_fired` takes it, so that nothing is lost by a process that dies in between; what
    recovers before anybody heard of it is no event at all.

    run: id of the run in the database, where it has one.
    """
    from sqlalchemy import insert, select, text, update

    from evals.database.tables import alert

    moment = now or datetime.now(UTC)
    shown = _shown(comparison)
    events: list[Event] = []
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            # Two that record runs of one suite at once, one after the other; an SQLite file has one writer anyway.
            connection.execute(text("LOCK TABLE alert IN EXCLUSIVE MODE"))
        known = {row.key: row for row in connection.execute(select(alert).where(alert.c.suite == suite))}
        for key, found in shown.items():
            before = known.get(key)
            state = _STATE.validate_python(before.state) if before is not None else "fine"
            if before is None and found.state == "fine":
                continue
            if before is None:
                row = {"suite": suite, "key": key, "state": found.state, "since": moment, "last_run": run, "fired_at": None}
                connection.execute(insert(alert).values(row))
                events.append(_event(suite, key, found, moment, comparison))
                continue
            where = (alert.c.suite == suite) & (alert.c.key == key)
            since, fired = before.since, before.fired_at
            if found.state == state:
                connection.execute(update(alert).where(where).values(last_run=run))
            else:
                # A clock that was set back hides no change.
                since = moment if fired is None else max(moment, fired + _TICK)
                unheard = found.state == "fine" and fired is None
                fired = since if unheard else None if state == "fine" and not _pending(before.since, fired) else fired
                connection.execute(update(alert).where(where).values(state=found.state, since=since, last_run=run, fired_at=fired))
            if _pending(since, fired):
                events.append(_event(suite, key, found, since, comparison))
    return events


def mark_fired(database: "Database", events: Sequence[Event], *, now: datetime | None = None) -> None:
    """Take note that somebody has been told of these events: they do not come again."""
    from sqlalchemy import update

    from evals.database.tables import alert

    moment = now or datetime.now(UTC)
    with database.write() as connection:
        for event in events:
            where = (alert.c.suite == event.suite) & (alert.c.key == event.key)
            connection.execute(update(alert).where(where).values(fired_at=max(moment, event.since)))


def _pending(since: datetime, fired: datetime | None) -> bool:
    return fired is None or fired < since


def _shown(comparison: Comparison) -> dict[str, _Now]:
    """By key."""
    shown = {}
    for change in comparison.changes:
        if change.watched and change.verdict in _OF_VERDICT:
            shown[_key(change.task, change.name, change.of)] = _Now(_OF_VERDICT[change.verdict], change)
    tasks = [*(change.task for change in comparison.changes), *(metric.task for metric in comparison.missing)]
    for task in dict.fromkeys(tasks):
        missing = tuple(f"{metric.name} {metric.of}".strip() for metric in comparison.missing if metric.task == task)
        shown[_key(task, "", "")] = _Now("missing" if missing else "fine", missing=missing)
    return shown


def _key(task: str, name: str, of: str) -> str:
    return json.dumps([task, name, of], ensure_ascii=False)


def _event(suite: str, key: str, found: _Now, since: datetime, comparison: Comparison) -> Event:
    task, name, of = json.loads(key)
    state: News = "recovered" if found.state == "fine" else found.state
    told = json.dumps([suite, key, state, since.astimezone(UTC).isoformat()])
    return Event(
        id=hashlib.sha256(told.encode()).hexdigest()[:32],
        suite=suite,
        key=key,
        task=task,
        name=name,
        of=of,
        state=state,
        since=since,
        run=comparison.run,
        baseline=comparison.baseline,
        change=found.change,
        missing=list(found.missing),
    )
