"""The timetable as a page and as JSON."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from evals.database import Database
from evals.database.tables import schedule
from evals.schedule import servers
from evals.schedule.schedules import add_schedule, pause_schedule
from explicate.web.schedules import ago, until

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def planned(store: Database, tmp_path: Path) -> None:
    """Two suites on a timetable, the second one paused."""
    for name, cron in (("nightly", "0 3 * * *"), ("weekly", "30 4 * * sun")):
        file = tmp_path / f"{name}.toml"
        file.write_text("", encoding="utf-8")
        add_schedule(store, file, cron=cron, name=name, timezone="Europe/Berlin", clock=lambda: AT)
    pause_schedule(store, "weekly")


def test_an_empty_timetable_says_how_to_fill_it(client: TestClient) -> None:
    assert "explicate schedule add" in client.get("/schedules").text
    assert client.get("/api/schedules").json() == {"schedules": [], "servers": []}


def test_next_and_last_runs_are_shown_in_utc_and_in_their_own_zone(client: TestClient, store: Database, planned: None) -> None:
    del planned
    page = client.get("/schedules").text
    rows = {name: part for part in page.split("<tr>") for name in ("nightly", "weekly") if f"suite={name}" in part}
    assert "2026-03-02 02:00 UTC" in rows["nightly"]
    assert "Mon 02 Mar, 03:00" in rows["nightly"]
    assert "overdue by" in rows["nightly"]
    assert "none yet" in rows["nightly"]
    assert "when resumed" in rows["weekly"]
    assert "paused" in rows["weekly"]
    first = client.get("/api/schedules").json()["schedules"][0]
    assert (first["name"], first["cron"], first["next_due"]) == ("nightly", "0 3 * * *", "2026-03-02T02:00:00Z")
    assert (first["running"], first["paused"], first["last_due"]) == (False, False, None)


def test_what_a_run_failed_of_is_text(client: TestClient, store: Database, planned: None) -> None:
    del planned
    failed = {"last_due": AT, "last_status": "failed", "last_error": "the server said <script>alert(1)</script>", "last_run_id": "gone"}
    with store.write() as connection:
        connection.execute(update(schedule).where(schedule.c.name == "nightly").values(failed))
    page = client.get("/schedules").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert 'href="/runs/gone"' not in page


def test_somebody_keeps_the_timetable_or_nobody_does(client: TestClient, store: Database, planned: None) -> None:
    del planned
    warning = "Nobody keeps this timetable"
    assert warning in client.get("/schedules").text
    now = datetime.now(UTC)
    servers.register(store, "here", now - timedelta(hours=2))
    assert warning in client.get("/schedules").text
    assert [each["alive"] for each in client.get("/api/schedules").json()["servers"]] == [False]
    servers.say(store, "here", now)
    assert warning not in client.get("/schedules").text
    assert [each["alive"] for each in client.get("/api/schedules").json()["servers"]] == [True]
    with store.write() as connection:
        held = {"claimed_by": "here", "claimed_until": now + timedelta(hours=1)}
        connection.execute(update(schedule).where(schedule.c.name == "nightly").values(held))
    servers.leave(store, "here")
    page = client.get("/schedules").text
    assert warning not in page
    assert "by here" in page
    assert client.get("/api/schedules").json()["schedules"][0]["running"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d"), (864_000, "10 d")]
)
def test_spans_are_told_in_the_largest_unit_that_fits_twice(seconds: int, said: str) -> None:
    assert ago(AT, AT - timedelta(seconds=seconds)) == f"{said} ago"
    assert until(AT, AT + timedelta(seconds=seconds)) == f"in {said}"
    if seconds:
        assert until(AT, AT - timedelta(seconds=seconds)) == f"overdue by {said}"
