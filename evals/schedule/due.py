"""Run what is due, once: each schedule that can be claimed, one after the other, each into a folder named for when it was due."""

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from filelock import FileLock, Timeout

from analyzers.errors import ExplicateError
from evals.database import Database
from evals.database.times import now
from evals.database.told import OutOfReach
from evals.schedule.heartbeat import Heartbeat, Pulse
from evals.schedule.lease import Claim, Missed, claim, release, renew
from evals.schedule.schedules import Clock, due_schedules
from evals.schedule.times import Times
from evals.schedule.work import Ended, Recorded, Run, supervised


class Log(Protocol):
    """Told of what happens, an event with its facts."""

    def __call__(self, event: str, /, **facts: object) -> None: ...


def silent(event: str, /, **facts: object) -> None:
    """Log nothing."""


@dataclass(frozen=True)
class RanSuite:
    """What became of one schedule that was due."""

    schedule: str
    due: datetime
    folder: Path | None
    """None where nothing was begun."""
    status: Literal["done", "failed", "stopped", "interrupted", "missed", "lost", "busy"]
    """As the schedule's; lost: taken over by somebody else; busy: to be gone on with once another process has let go of the folder."""
    resumed: bool = False
    error: str | None = None
    run_id: str | None = None
    regressed: bool = False


def run_due(
    database: Database,
    *,
    run: Run,
    owner: str,
    runs: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    log: Log = silent,
    pulse: Pulse | None = None,
    times: Times = Times(),  # noqa: B008 - frozen
    clock: Clock = now,
) -> list[RanSuite]:
    """Run every schedule that is due and free, and say what became of each.

    owner: unlike that of any other process. runs: where run folders go; by default `runs` beside the suite's file. stop: says when to
    end; what is running is then gone on with by the next call. An error of a run is entered with its schedule; one of the database is
    raised, and what was running is gone on with once its lease has run out.
    """
    beating = pulse or Pulse(times.hung)
    ran: list[RanSuite] = []
    for schedule in due_schedules(database, clock()):
        beating.beat()
        if stop():
            break
        claimed = claim(database, schedule, owner, clock(), times.lease)
        if claimed is None:
            log("taken", schedule=schedule.name)
        elif isinstance(claimed, Missed):
            log("missed", schedule=schedule.name, due=claimed.due, reason=claimed.reason)
            ran.append(RanSuite(schedule.name, claimed.due, None, "missed", error=claimed.reason))
        else:
            ran.append(_run(database, claimed, run, runs, stop, log, beating, times, clock))
            log("ended", **{key: value for key, value in vars(ran[-1]).items() if value is not None})
    return ran


def run_folder(claimed: Claim, runs: Path | None = None) -> Path:
    """Where a run goes: the same for whoever goes on with it."""
    root = claimed.schedule.suite_file.parent / "runs" if runs is None else runs
    return root / f"{claimed.schedule.name}-{claimed.due.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _run(
    database: Database,
    claimed: Claim,
    run: Run,
    runs: Path | None,
    stop: Callable[[], bool],
    log: Log,
    pulse: Pulse,
    times: Times,
    clock: Clock,
) -> RanSuite:
    name, folder = claimed.schedule.name, run_folder(claimed, runs)
    ran = partial(RanSuite, name, claimed.due, folder, resumed=claimed.resumed)
    if _in_use(folder):
        # Its process was hung for longer than a lease, and is not dead.
        why = f"{str(folder)!r} is in use by another process"
        release(database, claimed, "interrupted", error=why)
        return ran("busy", error=why)
    log("resumed" if claimed.resumed else "begun", schedule=name, due=claimed.due, folder=folder)

    def hold() -> bool:
        return renew(database, claimed, clock(), times.lease)

    def tell(line: str) -> None:
        pulse.beat()
        log("said", schedule=name, line=line)

    with Heartbeat(hold, times.beat, pulse) as heartbeat:
        end = asyncio.run(
            supervised(
                run,
                claimed.schedule.suite_file,
                folder,
                pulse=pulse,
                stop=lambda: stop() or heartbeat.lost,
                tell=tell,
                tick_s=times.tick,
            )
        )
        pulse.beat()
        if heartbeat.lost or not hold():
            return ran(
                "lost", error="somebody else goes on with it: this process gave no sign of life for too long, or the schedule was removed"
            )
        if end is None:
            release(database, claimed, "interrupted")
            return ran("interrupted")
        if not isinstance(end, Ended):
            error = _said(end, log, name)
            release(database, claimed, "failed", error=error)
            return ran("failed", error=error)
        recorded = _recorded(database, end, log, name)
        if isinstance(recorded, str):
            error, run_id, regressed = "; ".join(filter(None, (end.error, recorded))), None, False
        else:
            error, run_id, regressed = "; ".join(filter(None, (end.error, recorded.error))), recorded.run_id, recorded.regressed
        release(database, claimed, end.status, error=error or None, run_id=run_id)
    return ran(end.status, error=error or None, run_id=run_id, regressed=regressed)


def _recorded(database: Database, end: Ended, log: Log, name: str) -> Recorded | str:
    try:
        return end.record(database)
    except OutOfReach:
        raise
    except Exception as error:  # noqa: BLE001 - raised, it would end the server, and come again with its next start
        return _said(error, log, name)


def _said(error: BaseException, log: Log, name: str) -> str:
    """An error as it is entered with the schedule; one that nobody foresaw is logged with its traceback."""
    if isinstance(error, ExplicateError):
        return str(error)
    log("error", schedule=name, traceback="".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error}"


def _in_use(folder: Path) -> bool:
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except (Timeout, PermissionError):
        return True
