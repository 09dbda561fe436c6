"""What is due is run once, into a folder named for its time, and whatever becomes of it is entered with its schedule."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from analyzers.errors import ExplicateError
from analyzers.progress import Report
from evals.database import Database
from evals.database.told import OutOfReach
from evals.schedule.due import RanSuite, run_due
from evals.schedule.lease import Claim, claim
from evals.schedule.schedules import Schedule, find_schedule, remove_schedule
from evals.schedule.times import Times
from evals.schedule.work import Ended, Recorded, Tell

Scheduled = Callable[..., Schedule]
Body = Callable[[Path, Report, Tell], Awaitable[Ended]]
DUE = datetime(2026, 5, 1, 13, tzinfo=UTC)


class Suites:
    """Runs of suites that do what the test says; `ran` has their folders."""

    def __init__(self, body: Body | None = None) -> None:
        self.ran: list[Path] = []
        self.recorded: list[Path] = []
        self._body = body

    async def __call__(self, suite_file: Path, folder: Path, *, report: Report, tell: Tell) -> Ended:
        assert suite_file.is_absolute()
        self.ran.append(folder)
        return await (self._body(folder, report, tell) if self._body else self.done(folder))

    async def done(self, folder: Path) -> Ended:
        return self.ends(folder)

    def ends(self, folder: Path, status: Any = "done", why: str | None = None, **recorded: Any) -> Ended:
        def record(database: Database) -> Recorded:
            self.recorded.append(folder)
            return Recorded(**{"run_id": folder.name, "regressed": False, **recorded})

        return Ended(status, why, record)


@pytest.fixture
def due(database: Database, clock: Any, tmp_path: Path) -> Callable[..., list[RanSuite]]:
    """due(run) runs what is due at the clock's time."""

    def go(run: Any, **changes: Any) -> list[RanSuite]:
        given = {"owner": "me", "runs": tmp_path / "runs", "clock": clock, "times": Times(tick=0.005), **changes}
        return run_due(database, run=run, **given)

    return go


def test_nothing_is_due_before_its_time(due: Any, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    suites = Suites()
    clock.go(minutes=59, seconds=59)
    assert due(suites) == []
    assert suites.ran == []


def test_what_is_due_is_run_recorded_and_entered(due: Any, database: Database, scheduled: Scheduled, clock: Any, tmp_path: Path) -> None:
    scheduled()
    suites = Suites()
    clock.go(hours=1, minutes=2)
    (ran,) = due(suites)
    folder = tmp_path / "runs" / "nightly-20260501T130000Z"
    assert ran == RanSuite("nightly", DUE, folder, "done", run_id=folder.name)
    assert suites.ran == suites.recorded == [folder]
    after = find_schedule(database, "nightly")
    assert (after.last_status, after.last_run_id, after.last_due, after.claimed_by, after.claimed_until) == (
        "done",
        folder.name,
        DUE,
        None,
        None,
    )
    assert due(suites) == []
    assert len(suites.ran) == 1


def test_folders_are_beside_the_suite_where_nothing_else_is_said(due: Any, scheduled: Scheduled, clock: Any, suite_file: Path) -> None:
    scheduled()
    clock.go(hours=1)
    assert [ran.folder for ran in due(Suites(), runs=None)] == [suite_file.parent / "runs" / "nightly-20260501T130000Z"]


def test_the_grace_counts_from_the_latest_of_the_missed_times(due: Any, database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled("often", cron="0 * * * *", grace_s=3600)
    scheduled("nightly", cron="0 3 * * *", grace_s=3600)
    clock.go(days=2, minutes=30)
    suites = Suites()
    ran = {one.schedule: one for one in due(suites)}
    assert (ran["often"].status, ran["often"].due) == ("done", datetime(2026, 5, 3, 12, tzinfo=UTC))
    assert (ran["nightly"].status, ran["nightly"].folder) == ("missed", None)
    assert "its grace is 3600 s" in str(ran["nightly"].error)
    assert [folder.name for folder in suites.ran] == ["often-20260503T120000Z"]
    assert find_schedule(database, "nightly").next_due == datetime(2026, 5, 4, 3, tzinfo=UTC)


def test_a_run_longer_than_its_period_is_followed_by_one(due: Any, scheduled: Scheduled, clock: Any) -> None:
    scheduled(cron="*/10 * * * *")

    async def long(folder: Path, report: Report, tell: Tell) -> Ended:
        clock.go(minutes=47)
        return suites.ends(folder)

    suites = Suites(long)
    clock.go(minutes=10)
    assert [ran.due.minute for ran in due(suites)] == [10]  # 12:10 to 12:57
    assert [ran.due.minute for ran in due(suites)] == [50]
    assert len(suites.ran) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ExplicateError("line 3: unknown key 'modle'"), "line 3: unknown key 'modle'"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_run_that_dies_is_entered_and_the_others_go_on(
    due: Any, database: Database, scheduled: Scheduled, clock: Any, tmp_path: Path, error: Exception, expected: str
) -> None:
    other = tmp_path / "other.toml"
    other.touch()
    scheduled("a")
    scheduled("b", file=other)

    async def die(folder: Path, report: Report, tell: Tell) -> Ended:
        if folder.name.startswith("a"):
            raise error
        return suites.ends(folder)

    suites, events = Suites(die), list[str]()
    clock.go(hours=1)
    ran = due(suites, log=lambda event, **facts: events.append(event))
    assert [(one.schedule, one.status, one.error) for one in ran] == [("a", "failed", expected), ("b", "done", None)]
    after = find_schedule(database, "a")
    assert (after.last_status, after.last_error, after.claimed_by) == ("failed", expected, None)
    # It is not tried again before it is due again.
    assert due(suites) == []
    assert ("error" in events) == (not isinstance(error, ExplicateError))


def test_a_suite_that_failed_in_part_is_recorded_with_its_reason(due: Any, database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()

    async def partly(folder: Path, report: Report, tell: Tell) -> Ended:
        return suites.ends(folder, "stopped", "labels stopped: 100 calls", regressed=True, error="alerts not delivered: no route")

    suites = Suites(partly)
    clock.go(hours=1)
    (ran,) = due(suites)
    assert (ran.status, ran.regressed, ran.run_id) == ("stopped", True, "nightly-20260501T130000Z")
    assert ran.error == "labels stopped: 100 calls; alerts not delivered: no route"
    assert find_schedule(database, "nightly").last_error == ran.error
    assert due(suites) == []


@pytest.mark.parametrize(
    ("error", "said"), [(ExplicateError("the baseline is gone"), "the baseline is gone"), (KeyError("name"), "KeyError: 'name'")]
)
def test_a_run_that_cannot_be_recorded_says_so(
    due: Any, database: Database, scheduled: Scheduled, clock: Any, error: Exception, said: str
) -> None:
    scheduled()

    def no(database: Database) -> Recorded:
        raise error

    async def body(folder: Path, report: Report, tell: Tell) -> Ended:
        return Ended("done", None, no)

    clock.go(hours=1)
    (ran,) = due(Suites(body))
    assert (ran.status, ran.run_id, ran.error) == ("done", None, said)
    assert find_schedule(database, "nightly").last_error == said


def test_a_run_that_ends_while_the_database_is_away_is_recorded_once_it_is_back(
    due: Any, database: Database, scheduled: Scheduled, clock: Any
) -> None:
    scheduled()

    def away(database: Database) -> Recorded:
        raise OutOfReach("locked")

    async def body(folder: Path, report: Report, tell: Tell) -> Ended:
        return Ended("done", None, away)

    clock.go(hours=1)
    with pytest.raises(OutOfReach):
        due(Suites(body))
    clock.go(minutes=10)
    suites = Suites()
    assert [(one.status, one.resumed, one.due) for one in due(suites)] == [("done", True, DUE)]
    assert len(suites.recorded) == 1


def test_a_run_that_is_asked_to_end_ends_at_an_await_and_is_gone_on_with(
    due: Any, database: Database, scheduled: Scheduled, clock: Any
) -> None:
    scheduled(grace_s=60)
    asked, tidied = [False], list[bool]()

    async def endless(folder: Path, report: Report, tell: Tell) -> Ended:
        if len(suites.ran) > 1:
            return suites.ends(folder)
        asked[0] = True
        try:
            await asyncio.sleep(600)
        finally:
            # Asked once, it has all the time it needs.
            await asyncio.sleep(0.05)
            tidied.append(True)
        raise AssertionError("slept")

    suites = Suites(endless)
    clock.go(hours=1)
    (ran,) = due(suites, stop=lambda: asked[0])
    assert (ran.status, tidied, suites.recorded) == ("interrupted", [True], [])
    after = find_schedule(database, "nightly")
    assert (after.last_status, after.claimed_by) == ("interrupted", None)
    clock.go(minutes=30)  # far beyond the grace
    (again,) = due(suites, owner="another")
    assert (again.status, again.resumed, again.folder) == ("done", True, ran.folder)
    assert suites.ran == [ran.folder, ran.folder]


def test_work_that_awaits_nothing_ends_where_it_reports_progress(due: Any, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    done, asked = [0], [False]

    async def busy(folder: Path, report: Report, tell: Tell) -> Ended:
        for number in range(1000):
            done[0] = number
            asked[0] = number == 7
            report("tokens", number, 1000)
        return suites.ends(folder)

    suites = Suites(busy)
    clock.go(hours=1)
    (ran,) = due(suites, stop=lambda: asked[0])
    assert (ran.status, done) == ("interrupted", [7])


def test_whoever_asks_to_end_first_begins_nothing(due: Any, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    clock.go(hours=1)
    suites = Suites()
    assert due(suites, stop=lambda: True) == []
    assert suites.ran == []


def test_what_a_dead_process_held_is_gone_on_with_in_its_folder(due: Any, database: Database, scheduled: Scheduled, clock: Any) -> None:
    seen = scheduled(grace_s=60)
    clock.go(hours=1)
    assert isinstance(claim(database, seen, "dead", clock(), Times().lease), Claim)
    suites = Suites()
    clock.go(seconds=Times().lease - 1)
    assert due(suites) == []
    clock.go(hours=2)
    ran = due(suites)
    assert [(one.status, one.due, one.resumed) for one in ran] == [("done", DUE, True)]
    # And what was due meanwhile is the next run.
    clock.go(hours=1)
    assert [one.resumed for one in due(suites)] == [False]


def test_a_lease_is_renewed_while_the_run_goes_on(due: Any, database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    held = list[bool]()

    async def long(folder: Path, report: Report, tell: Tell) -> Ended:
        for _ in range(3):
            clock.go(seconds=50)
            until = clock() + timedelta(seconds=60)
            while find_schedule(database, "nightly").claimed_until != until:
                await asyncio.sleep(0.005)
            held.append(find_schedule(database, "nightly").held(clock()))
        return suites.ends(folder)

    suites = Suites(long)
    clock.go(hours=1)
    (ran,) = due(suites, times=Times(lease=60, beat=0.01, tick=0.005))
    assert (ran.status, held) == ("done", [True, True, True])


def test_a_run_whose_schedule_is_removed_ends_and_is_not_recorded(due: Any, database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()

    async def endless(folder: Path, report: Report, tell: Tell) -> Ended:
        remove_schedule(database, "nightly")
        await asyncio.sleep(600)
        return suites.ends(folder)

    suites = Suites(endless)
    clock.go(hours=1)
    (ran,) = due(suites, times=Times(beat=0.01, tick=0.005))
    assert (ran.status, suites.recorded) == ("lost", [])


def test_a_run_that_is_hung_is_taken_over_and_ends_when_it_wakes(due: Any, database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    times = Times(lease=60, beat=0.01, hung=0.05, tick=0.005)
    rescuer, rescued = Suites(), list[RanSuite]()

    async def hangs(folder: Path, report: Report, tell: Tell) -> Ended:
        time.sleep(0.2)  # the thread that says that it is there has stopped by now
        clock.go(seconds=61)
        rescued.extend(due_in_thread(rescuer, owner="rescuer"))
        await asyncio.sleep(600)
        return suites.ends(folder)

    def due_in_thread(run: Suites, **given: Any) -> list[RanSuite]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            return list(pool.submit(due, run, **given).result())

    suites = Suites(hangs)
    clock.go(hours=1)
    (ran,) = due(suites, times=times)
    assert [(one.status, one.resumed) for one in rescued] == [("done", True)]
    assert (ran.status, suites.recorded) == ("lost", [])
    assert rescuer.recorded == [ran.folder]
    assert find_schedule(database, "nightly").last_status == "done"


def test_a_folder_that_a_hung_process_still_has_is_waited_for(
    due: Any, database: Database, scheduled: Scheduled, clock: Any, tmp_path: Path
) -> None:
    scheduled(grace_s=60)
    folder = tmp_path / "runs" / "nightly-20260501T130000Z"
    folder.mkdir(parents=True)
    suites = Suites()
    clock.go(hours=1)
    with FileLock(folder / ".lock"):
        (ran,) = due(suites)
        assert (ran.status, suites.ran) == ("busy", [])
        assert "in use by another process" in str(find_schedule(database, "nightly").last_error)
    clock.go(hours=3)
    (ran,) = due(suites)
    assert (ran.status, ran.folder, ran.resumed) == ("done", folder, True)
    assert find_schedule(database, "nightly").last_error is None
