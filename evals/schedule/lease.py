"""Who runs a schedule: one process at a time, for as long as it says again and again that it is there.

A claim is one UPDATE that matches only what was seen, so that of any number of processes one gets it. All hosts must agree on the time to
within a fraction of the lease.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select, update

from evals.database import Database, tables
from evals.schedule.cron import Cron
from evals.schedule.schedules import Schedule, Status

table = tables.schedule


@dataclass(frozen=True)
class Claim:
    """The right to run one schedule, for the time it was due."""

    schedule: Schedule
    due: datetime
    owner: str
    resumed: bool
    """Whether the run was begun before, here or by somebody who is gone."""


@dataclass(frozen=True)
class Missed:
    """Nobody was there to begin a run within the schedule's grace; it will not be caught up."""

    schedule: Schedule
    due: datetime
    reason: str


def claim(database: Database, schedule: Schedule, owner: str, at: datetime, lease_s: float) -> Claim | Missed | None:
    """Claim a schedule as it was seen; None where somebody else has it, or has its suite.

    All that was due since the last run is one run, that of the latest due time. What is older than the grace is entered as missed.
    """
    cron = Cron(schedule.cron, schedule.timezone)
    after = cron.after(at)
    values: dict[str, object] = {"claimed_by": owner, "claimed_until": at + timedelta(seconds=lease_s), "heartbeat": at}
    if schedule.unfinished and schedule.last_due is not None:
        due, resumed = schedule.last_due, True
    else:
        grace = timedelta(seconds=schedule.grace_s)
        found = cron.latest(max(schedule.next_due, at - grace), at)
        if found is None and schedule.next_due >= at - grace:
            # A zone whose hours were changed since: what was promised is kept.
            found = schedule.next_due
        if found is None:
            late = (at - schedule.next_due).total_seconds()
            reason = f"due at {schedule.next_due.isoformat()}, it could be begun {late:.0f} s late, and its grace is {schedule.grace_s} s"
            gone = {"next_due": after, "last_due": schedule.next_due, "last_status": "missed", "last_error": reason}
            return Missed(schedule, schedule.next_due, reason) if _take(database, schedule, at, gone) else None
        due, resumed = found, False
        values |= {"next_due": after, "last_due": due, "last_run_id": None}
    values |= {"last_status": "running", "last_error": None}
    return Claim(schedule, due, owner, resumed) if _take(database, schedule, at, values) else None


def renew(database: Database, claimed: Claim, at: datetime, lease_s: float) -> bool:
    """Hold the schedule longer; False where it is somebody else's by now, or removed."""
    with database.write() as connection:
        until = at + timedelta(seconds=lease_s)
        return connection.execute(update(table).where(_ours(claimed)).values(claimed_until=until, heartbeat=at)).rowcount == 1


def release(database: Database, claimed: Claim, status: Status, *, error: str | None = None, run_id: str | None = None) -> bool:
    """Enter how the run ended and hold the schedule no longer; False where it is somebody else's by now, who will enter it."""
    values = {"last_status": status, "last_error": error, "last_run_id": run_id, "claimed_by": None, "claimed_until": None}
    with database.write() as connection:
        return connection.execute(update(table).where(_ours(claimed)).values(values)).rowcount == 1


def _ours(claimed: Claim) -> ColumnElement[bool]:
    return and_(table.c.id == claimed.schedule.id, table.c.claimed_by == claimed.owner, table.c.last_due == claimed.due)


def _take(database: Database, seen: Schedule, at: datetime, values: dict[str, object]) -> bool:
    other = table.alias("other")
    suite = str(seen.suite_file)
    busy = exists(select(other.c.id).where(other.c.suite_file == suite, other.c.id != seen.id, other.c.claimed_until > at))
    as_seen = and_(
        table.c.id == seen.id,
        table.c.paused.is_(False),
        or_(table.c.claimed_until.is_(None), table.c.claimed_until <= at),
        table.c.next_due == seen.next_due,
        table.c.last_due.is_not_distinct_from(seen.last_due),
        table.c.last_status.is_not_distinct_from(seen.last_status),
        ~busy,
    )
    with database.write() as connection:
        # Two schedules of one suite are two rows: PostgreSQL would let two processes claim one each, seeing both free.
        connection.execute(select(table.c.id).where(table.c.suite_file == suite).order_by(table.c.id).with_for_update()).all()
        return connection.execute(update(table).where(as_seen).values(values)).rowcount == 1
