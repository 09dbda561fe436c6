"""The schedules in the database: adding, listing, pausing, resuming and removing them."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from analyzers.errors import ExplicateError
from evals.database import Database, tables
from evals.database.times import now
from evals.schedule.cron import Cron

GRACE_S = 6 * 3600
"""Seconds that a run may begin late, where nothing else is said: what a night without power made late is run in the morning."""
LEAST_GRACE_S = 60

Clock = Callable[[], datetime]
"""Gives this moment, with a zone."""
Status = Literal["running", "interrupted", "done", "failed", "stopped", "missed"]
"""Of the last run. running: begun, and not ended where nobody holds the schedule any more; interrupted: its process was asked to end;
stopped: by a limit; missed: nobody was there to begin it within the grace. One that is running or interrupted is gone on with."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
table = tables.schedule


@dataclass(frozen=True)
class Schedule:
    """A suite on a timetable, and how its last run ended."""

    id: int
    suite_file: Path
    """Absolute."""
    name: str
    cron: str
    timezone: str
    paused: bool
    """Nothing is begun or gone on with; what is running runs on."""
    grace_s: int
    next_due: datetime
    """When the next run is to begin; one that is to be gone on with does not wait for it."""
    last_due: datetime | None
    """When the last run that was begun or missed was due."""
    last_run_id: str | None
    last_status: Status | None
    last_error: str | None
    claimed_by: str | None
    claimed_until: datetime | None
    heartbeat: datetime | None
    """When whoever runs it last said so."""

    @property
    def unfinished(self) -> bool:
        """Whether its last run is to be gone on with, unless somebody is at it."""
        return self.last_due is not None and self.last_status in ("running", "interrupted")

    def held(self, at: datetime) -> bool:
        """Whether somebody is running it."""
        return self.claimed_until is not None and self.claimed_until > at


def add_schedule(
    database: Database,
    suite_file: Path,
    *,
    cron: str,
    name: str,
    timezone: str = "UTC",
    grace_s: int = GRACE_S,
    clock: Clock = now,
) -> Schedule:
    """Put a suite on a timetable; raises ExplicateError for a cron, zone, grace or name that is wrong or taken."""
    first = Cron(cron, timezone).after(clock())
    if not _NAME.fullmatch(name):
        raise ExplicateError(
            f"a schedule cannot be called {name!r}; give up to 64 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    if grace_s < LEAST_GRACE_S:
        raise ExplicateError(f"a grace of {grace_s} s is too short: a run may always begin {LEAST_GRACE_S} s late; give more")
    file = suite_file.expanduser().resolve()
    if not file.is_file():
        raise ExplicateError(f"there is no suite {str(suite_file)!r}; write one with `explicate suite init`")
    row = {
        "suite_file": str(file),
        "name": name,
        "cron": " ".join(cron.split()),
        "timezone": timezone,
        "paused": False,
        "grace_s": grace_s,
        "next_due": first,
    }
    try:
        with database.write() as connection:
            connection.execute(insert(table).values(row))
    except IntegrityError:
        raise ExplicateError(
            f"there is a schedule {name!r} already; give another --name, or `explicate schedule remove {name}` first"
        ) from None
    return find_schedule(database, name)


def all_schedules(database: Database) -> list[Schedule]:
    """All schedules, by name."""
    with database.read() as connection:
        return [_schedule(row) for row in connection.execute(select(table).order_by(table.c.name))]


def find_schedule(database: Database, name: str) -> Schedule:
    """The schedule of that name; raises ExplicateError with the nearest name."""
    with database.read() as connection:
        row = connection.execute(select(table).where(table.c.name == name)).first()
        if row is None:
            _unknown(connection, name)
    return _schedule(row)


def pause_schedule(database: Database, name: str) -> Schedule:
    """Begin nothing more until it is resumed; what is running runs on. Raises ExplicateError for an unknown name."""
    _update(database, name, paused=True)
    return find_schedule(database, name)


def resume_schedule(database: Database, name: str, *, clock: Clock = now) -> Schedule:
    """Go on from now: what was due during the pause is not caught up. Raises ExplicateError for an unknown name."""
    found = find_schedule(database, name)
    if found.paused:
        _update(database, name, paused=False, next_due=Cron(found.cron, found.timezone).after(clock()))
    return find_schedule(database, name)


def remove_schedule(database: Database, name: str) -> None:
    """Take it off the timetable; its runs stay, and what is running is ended between calls. Raises ExplicateError for an unknown name."""
    with database.write() as connection:
        if connection.execute(delete(table).where(table.c.name == name)).rowcount == 0:
            _unknown(connection, name)


def due_schedules(database: Database, at: datetime) -> list[Schedule]:
    """What is to be begun or gone on with and nobody is at, by how long it has waited."""
    found = [one for one in all_schedules(database) if not one.paused and not one.held(at) and (one.unfinished or one.next_due <= at)]
    return sorted(found, key=lambda one: (one.last_due if one.unfinished and one.last_due is not None else one.next_due, one.id))


def next_due(database: Database) -> datetime | None:
    """When the next run of any schedule is to begin; None where none is."""
    return min((one.next_due for one in all_schedules(database) if not one.paused), default=None)


def _update(database: Database, name: str, **values: object) -> None:
    with database.write() as connection:
        if connection.execute(update(table).where(table.c.name == name).values(values)).rowcount == 0:
            _unknown(connection, name)


def _unknown(connection: Connection, name: str) -> NoReturn:
    known = sorted(connection.execute(select(table.c.name)).scalars())
    near = difflib.get_close_matches(name, known, n=1)
    there = f"there is {', '.join(known)}" if known else "there is none; add one with `explicate schedule add`"
    raise ExplicateError(f"no schedule is called {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; {there}")


def _schedule(row: Row[Any]) -> Schedule:
    values: dict[str, Any] = dict(row._mapping)
    return Schedule(**{**values, "suite_file": Path(values["suite_file"])})
