"""Adding, listing, pausing, resuming and removing; what is due, and in which order."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import ExplicateError
from evals.database import Database
from evals.schedule.schedules import (
    Schedule,
    add_schedule,
    all_schedules,
    due_schedules,
    find_schedule,
    next_due,
    pause_schedule,
    remove_schedule,
    resume_schedule,
)

Scheduled = Callable[..., Schedule]


def test_what_is_added_is_listed_by_name(database: Database, scheduled: Scheduled, suite_file: Path) -> None:
    scheduled("later", cron="30  14 * *\t*")
    first = scheduled("earlier")
    assert [one.name for one in all_schedules(database)] == ["earlier", "later"]
    assert first.suite_file == suite_file.resolve()
    assert first.next_due == datetime(2026, 5, 1, 13, tzinfo=UTC)
    assert find_schedule(database, "later").cron == "30 14 * * *"
    assert next_due(database) == first.next_due
    assert (first.paused, first.last_due, first.last_status, first.claimed_by) == (False, None, None, None)


def test_the_zone_decides_when_it_is_due(database: Database, suite_file: Path, clock: Any) -> None:
    added = add_schedule(database, suite_file, cron="0 3 * * *", name="berlin", timezone="Europe/Berlin", clock=clock)
    assert added.next_due == datetime(2026, 5, 2, 1, tzinfo=UTC)


def test_pausing_begins_nothing_and_resuming_catches_nothing_up(database: Database, scheduled: Scheduled, clock: Any) -> None:
    scheduled()
    assert pause_schedule(database, "nightly").paused
    clock.go(hours=3, minutes=30)
    assert due_schedules(database, clock()) == []
    assert next_due(database) is None
    resumed = resume_schedule(database, "nightly", clock=clock)
    assert (resumed.paused, resumed.next_due) == (False, datetime(2026, 5, 1, 16, tzinfo=UTC))
    assert due_schedules(database, clock()) == []
    clock.go(minutes=30)
    assert [one.name for one in due_schedules(database, clock())] == ["nightly"]


def test_resuming_what_is_not_paused_changes_nothing(database: Database, scheduled: Scheduled, clock: Any) -> None:
    added = scheduled()
    clock.go(hours=2)
    assert resume_schedule(database, "nightly", clock=clock) == added


def test_who_has_waited_longest_comes_first(database: Database, scheduled: Scheduled, clock: Any) -> None:
    for name, cron in (("a", "30 * * * *"), ("b", "10 * * * *"), ("c", "20 * * * *"), ("d", "50 14 * * *")):
        scheduled(name, cron=cron)
    clock.go(minutes=45)
    assert [one.name for one in due_schedules(database, clock())] == ["b", "c", "a"]


def test_what_is_removed_is_gone(database: Database, scheduled: Scheduled) -> None:
    scheduled("one")
    scheduled("two")
    remove_schedule(database, "one")
    assert [one.name for one in all_schedules(database)] == ["two"]


@pytest.mark.parametrize("act", [pause_schedule, resume_schedule, remove_schedule, find_schedule])
def test_an_unknown_name_is_told_with_the_nearest(database: Database, scheduled: Scheduled, act: Callable[..., Any]) -> None:
    with pytest.raises(ExplicateError, match="there is none; add one"):
        act(database, "nightly")
    scheduled("nightly")
    scheduled("weekly")
    with pytest.raises(ExplicateError, match=r"no schedule is called 'nightli'; did you mean 'nightly'\?; there is nightly, weekly"):
        act(database, "nightli")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "nightly"}, "there is a schedule 'nightly' already"),
        ({"name": "../up"}, "cannot be called '../up'"),
        ({"name": ""}, "cannot be called ''"),
        ({"name": "x" * 65}, "up to 64 letters"),
        ({"cron": "0 3 * *"}, "has 4 fields"),
        ({"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        ({"grace_s": 59}, "a grace of 59 s is too short"),
        ({"suite_file": Path("no-such.toml")}, "there is no suite 'no-such.toml'"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_added(
    database: Database, scheduled: Scheduled, suite_file: Path, clock: Any, changes: dict[str, Any], expected: str
) -> None:
    scheduled("nightly")
    given: dict[str, Any] = {"suite_file": suite_file, "cron": "0 3 * * *", "name": "other", "clock": clock, **changes}
    with pytest.raises(ExplicateError, match=expected):
        add_schedule(database, given.pop("suite_file"), **given)
    assert [one.name for one in all_schedules(database)] == ["nightly"]
