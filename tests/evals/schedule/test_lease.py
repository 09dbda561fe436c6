"""Of many who want to run a schedule one gets it, keeps it while it lives, and loses it when it does not."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from evals.database import Database, tables
from evals.schedule.lease import Claim, Missed, claim, release, renew
from evals.schedule.schedules import Schedule, due_schedules, find_schedule, pause_schedule, remove_schedule

Scheduled = Callable[..., Schedule]
LEASE = 60


def taken(database: Database, clock: Any, owner: str = "me", name: str = "nightly") -> Claim:
    found = claim(database, find_schedule(database, name), owner, clock(), LEASE)
    assert isinstance(found, Claim)
    return found


def test_a_claim_is_for_the_time_it_was_due_and_the_next_is_ahead(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    clock.go(hours=1, minutes=5)
    claimed = taken(database, clock)
    after = find_schedule(database, "nightly")
    assert (claimed.due, claimed.resumed) == (datetime(2026, 5, 1, 13, tzinfo=UTC), False)
    assert (after.last_due, after.next_due) == (claimed.due, datetime(2026, 5, 1, 14, tzinfo=UTC))
    assert (after.last_status, after.claimed_by) == ("running", "me")
    assert after.held(clock())
    assert due_schedules(database, clock()) == []


def test_what_was_missed_is_one_run_of_the_latest_time(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled(cron="*/10 * * * *")
    clock.go(days=3, minutes=25)
    claimed = taken(database, clock)
    assert claimed.due == datetime(2026, 5, 4, 12, 20, tzinfo=UTC)
    assert release(database, claimed, "done", run_id="r1")
    assert due_schedules(database, clock()) == []
    after = find_schedule(database, "nightly")
    assert (after.last_status, after.last_run_id, after.next_due) == ("done", "r1", datetime(2026, 5, 4, 12, 30, tzinfo=UTC))


@pytest.mark.parametrize(("late_s", "runs"), [(0, True), (7200, True), (7201, False)])
def test_later_than_the_grace_is_missed(database: Database, scheduled: Scheduled, clock: Any, late_s: int, runs: bool) -> None:
    due = scheduled(cron="0 18 * * *", grace_s=7200).next_due
    clock.go(hours=6, seconds=late_s)
    found = claim(database, find_schedule(database, "nightly"), "me", clock(), LEASE)
    assert isinstance(found, Claim if runs else Missed)
    after = find_schedule(database, "nightly")
    assert (after.last_due, after.next_due) == (due, datetime(2026, 5, 2, 18, tzinfo=UTC))
    assert after.last_status == ("running" if runs else "missed")
    assert after.held(clock()) == runs
    if not runs:
        assert after.last_error is not None
        assert "7201 s late, and its grace is 7200 s" in after.last_error
        assert due_schedules(database, clock()) == []


def test_a_lease_that_ran_out_is_taken_over_for_the_same_time_however_late(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled(grace_s=600)
    clock.go(hours=1)
    first = taken(database, clock, "first")
    clock.go(seconds=LEASE - 1)
    assert due_schedules(database, clock()) == []
    assert renew(database, first, clock(), LEASE)
    clock.go(seconds=LEASE - 1)
    assert due_schedules(database, clock()) == []
    clock.go(hours=5)
    second = taken(database, clock, "second")
    assert (second.due, second.resumed) == (first.due, True)
    # Whoever wakes up too late changes nothing any more.
    assert not renew(database, first, clock(), LEASE)
    assert not release(database, first, "failed", error="woke up")
    after = find_schedule(database, "nightly")
    assert (after.claimed_by, after.last_status, after.last_error) == ("second", "running", None)
    assert release(database, second, "done")
    assert find_schedule(database, "nightly").last_status == "done"


def test_a_lease_that_ran_out_and_nobody_took_is_kept(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    clock.go(hours=1)
    claimed = taken(database, clock)
    clock.go(hours=1)
    assert renew(database, claimed, clock(), LEASE)
    assert due_schedules(database, clock()) == []


def test_what_is_interrupted_is_gone_on_with_at_once_and_not_while_paused(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    clock.go(hours=1)
    first = taken(database, clock)
    assert release(database, first, "interrupted")
    seen = find_schedule(database, "nightly")
    assert due_schedules(database, clock()) == [seen]
    pause_schedule(database, "nightly")
    assert due_schedules(database, clock()) == []
    assert claim(database, seen, "me", clock(), LEASE) is None


def test_what_is_removed_is_lost_to_whoever_runs_it(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    clock.go(hours=1)
    claimed = taken(database, clock)
    remove_schedule(database, "nightly")
    assert not renew(database, claimed, clock(), LEASE)
    assert not release(database, claimed, "done")
    # Nor is what takes its place under the same name, and perhaps number, mistaken for it.
    scheduled()
    assert not renew(database, claimed, clock(), LEASE)


def test_of_what_was_seen_before_another_ran_it_nothing_is_claimed(database: Database, scheduled: Scheduled, clock: Any) -> None:
    seen = scheduled()
    clock.go(hours=1)
    assert release(database, taken(database, clock), "done")
    assert claim(database, seen, "late", clock(), LEASE) is None


def test_a_suite_runs_under_one_schedule_at_a_time(database: Database, scheduled: Scheduled, clock: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("", encoding="utf-8")
    for name, file in (("a", tmp_path / "nightly.toml"), ("b", tmp_path / "nightly.toml"), ("c", other)):
        scheduled(name, file=file)
    clock.go(hours=1)
    first = taken(database, clock, name="a")
    assert claim(database, find_schedule(database, "b"), "me", clock(), LEASE) is None
    taken(database, clock, name="c")
    assert release(database, first, "done")
    taken(database, clock, name="b")


@pytest.mark.parametrize("names", [("nightly",), ("morning", "evening")])
def test_of_many_threads_one_gets_it(database: Database, scheduled: Scheduled, clock: Any, names: tuple[str, ...]) -> None:
    for name in names:
        scheduled(name)
    clock.go(hours=1)
    for _ in range(5):
        seen = [find_schedule(database, name) for name in names]
        ready, found = threading.Barrier(8), list[Claim]()

        def want(number: int, seen: list[Schedule] = seen, ready: threading.Barrier = ready, found: list[Claim] = found) -> None:
            ready.wait()
            claimed = claim(database, seen[number % len(seen)], f"thread {number}", clock(), LEASE)
            if isinstance(claimed, Claim):
                found.append(claimed)

        threads = [threading.Thread(target=want, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 1
        assert release(database, found[0], "done")
        clock.go(hours=1)


def test_of_many_processes_one_runs_a_suite_at_a_time_and_nothing_twice(
    forks: Any, database: Database, database_url: str, scheduled: Scheduled, tmp_path: Path
) -> None:
    for name in ("morning", "evening"):
        scheduled(name, cron="* * * * *")
    script, times = Path(__file__).with_name("scripted.py"), json.dumps({"lease": 1e6, "beat": 1e3, "tick": 0.01})
    (tmp_path / "begun").write_text(str(time.time()))
    arguments, prepare = ("race", database_url, str(tmp_path), times), "import evals.run_folder, evals.schedule.serve"
    processes = [forks.start(script, *arguments, folder=tmp_path, prepare=prepare) for _ in range(3)]
    seen = tmp_path / "seen"

    def lines() -> list[str]:
        return seen.read_text().splitlines() if seen.exists() else []

    try:
        deadline = time.monotonic() + 120
        while len(lines()) < 200 or len({line.split()[1] for line in lines()}) < 3:
            assert time.monotonic() < deadline, "too few runs"
            assert [process.poll() for process in processes] == [None] * 3
            time.sleep(0.05)
    finally:
        (tmp_path / "end").touch()
        codes = [process.wait() for process in processes]
    assert codes == [0, 0, 0], [process.err.read_text() for process in processes]
    found = [line.split() for line in lines()]
    for begin, end in zip(found[::2], found[1::2], strict=True):
        assert (begin[0], end[0]) == ("begin", "end")
        assert begin[1:] == end[1:]
    runs = Counter(name for what, _, name in found if what == "begin")
    assert set(runs.values()) == {1}
    for schedule in ("morning", "evening"):
        times_due = [name for name in runs if name.startswith(schedule)]
        assert len(times_due) > 10
        assert all(sooner < later for sooner, later in pairwise(times_due))


def test_a_time_that_was_promised_is_kept_where_the_hours_of_the_zone_were_changed_since(
    database: Database, scheduled: Scheduled, clock: Any
) -> None:
    scheduled(cron="0 3 * * *", grace_s=3600)
    promised = datetime(2026, 5, 1, 17, tzinfo=UTC)
    with database.write() as connection:
        connection.execute(update(tables.schedule).values(next_due=promised))
    clock.go(hours=5, minutes=1)
    assert taken(database, clock).due == promised
