"""An alert comes once for every change of state, whatever processes die in between."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.alerts.state import Event, changes_of_state, mark_fired
from evals.comparison.results import Change, Comparison
from evals.database import Database, open_database

Make = Callable[..., Comparison]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Each call opens the same database anew, as another process would."""
    if request.param == "sqlite":
        yield lambda: open_database(f"sqlite:///{tmp_path / 'results.sqlite'}")
        return
    url = os.environ.get("EXPLICATE_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("EXPLICATE_TEST_POSTGRES_URL names no PostgreSQL")
    import sqlalchemy as sa

    name = f"alerts_{uuid4().hex}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    whole = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    opened: list[Database] = []

    def reopen() -> Database:
        opened.append(open_database(whole))
        return opened[-1]

    yield reopen
    for database in opened:
        database.engine.dispose()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}"))
    admin.dispose()


def told(database: Database, comparison: Comparison, day: int) -> list[str]:
    """The states of what is new, which is then told."""
    events = changes_of_state(database, "nightly", comparison, run=f"run{day}", now=START + timedelta(days=day))
    mark_fired(database, events, now=START + timedelta(days=day, minutes=1))
    return [event.state for event in events]


def test_an_alert_comes_once_and_says_when_it_is_over(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    verdicts = [
        "unchanged",
        "regressed",
        "regressed",
        "not comparable",
        "regressed",
        "improved",
        "unchanged",
        "failed",
        "regressed",
        "unchanged",
    ]
    heard = []
    for day, verdict in enumerate(verdicts):
        database = reopened()
        heard.append(told(database, make_comparison(make_change(verdict)), day))
        database.engine.dispose()
    assert heard == [[], ["regressed"], [], [], [], ["recovered"], [], ["failed"], ["regressed"], ["recovered"]]


def test_what_was_not_told_comes_again(reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make) -> None:
    database = reopened()
    first = changes_of_state(database, "nightly", make_comparison(make_change()), now=START)
    again = changes_of_state(reopened(), "nightly", make_comparison(make_change()), now=START + timedelta(days=1))
    assert [event.id for event in again] == [event.id for event in first]
    assert again[0].since == START
    mark_fired(database, again)
    assert changes_of_state(database, "nightly", make_comparison(make_change())) == []


def test_what_was_over_before_anybody_heard_of_it_is_not_told(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    database = reopened()
    assert changes_of_state(database, "nightly", make_comparison(make_change()), now=START)
    assert changes_of_state(database, "nightly", make_comparison(make_change("unchanged")), now=START + timedelta(days=1)) == []
    assert told(database, make_comparison(make_change()), 2) == ["regressed"]


def test_a_recovery_that_was_not_told_comes_again(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    database = reopened()
    assert told(database, make_comparison(make_change()), 0) == ["regressed"]
    over = changes_of_state(database, "nightly", make_comparison(make_change("unchanged")), now=START + timedelta(days=1))
    assert [event.state for event in over] == ["recovered"]
    assert told(database, make_comparison(make_change("unchanged")), 2) == ["recovered"]
    assert told(database, make_comparison(make_change("unchanged")), 3) == []


def test_suites_and_metrics_have_states_of_their_own(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    database = reopened()
    both = make_comparison(make_change(name="a", of="b c"), make_change(name="a", of=""), make_change(name="a b", of="c"))
    assert len(changes_of_state(database, "nightly", both)) == 3
    assert len(changes_of_state(database, "weekly", both)) == 3


def test_what_is_not_watched_is_no_news(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    assert changes_of_state(reopened(), "nightly", make_comparison(make_change("failed", watched=False))) == []


def test_missing_metrics_are_one_event_a_task(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    database = reopened()
    gone = [("reviews", "comprehensiveness", "self"), ("reviews", "accuracy", ""), ("neurons", "lift", "")]
    events = changes_of_state(database, "nightly", make_comparison(missing=gone))
    assert [(event.task, event.state, event.missing) for event in events] == [
        ("reviews", "missing", ["comprehensiveness self", "accuracy"]),
        ("neurons", "missing", ["lift"]),
    ]
    mark_fired(database, events)
    assert changes_of_state(database, "nightly", make_comparison(missing=gone)) == []
    back = changes_of_state(database, "nightly", make_comparison(make_change("unchanged")))
    assert [(event.task, event.state) for event in back] == [("reviews", "recovered")]


def test_a_clock_that_is_set_back_hides_no_change(
    reopened: Callable[[], Database], make_change: Callable[..., Change], make_comparison: Make
) -> None:
    database = reopened()
    assert told(database, make_comparison(make_change()), 10) == ["regressed"]
    assert told(database, make_comparison(make_change("unchanged")), 5) == ["recovered"]
    assert told(database, make_comparison(make_change()), 1) == ["regressed"]
    assert told(database, make_comparison(make_change()), 2) == []


_DAYS = st.lists(st.tuples(st.sampled_from(["regressed", "failed", "unchanged", "not comparable"]), st.booleans()), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=_DAYS)
def test_whoever_listens_knows_the_state_and_hears_it_once(
    days: list[tuple[str, bool]], tmp_path: Path, make_change: Callable[..., Change], make_comparison: Make
) -> None:
    """Against a listener that remembers what it heard: what it believes after a day on which it was reached is what is true."""
    database = open_database(f"sqlite:///{tmp_path / f'{uuid4().hex}.sqlite'}")
    true, believed, ids = "fine", "fine", set()
    for day, (verdict, reached) in enumerate(days):
        true = {"not comparable": true, "unchanged": "fine"}.get(verdict, verdict)
        events = changes_of_state(database, "s", make_comparison(make_change(verdict)), now=START + timedelta(days=day))
        assert len(events) <= 1
        if not reached:
            continue
        mark_fired(database, events, now=START + timedelta(days=day))
        for event in events:
            believed = "fine" if event.state == "recovered" else event.state
            assert event.id not in ids
            ids.add(event.id)
        if verdict != "not comparable":
            assert believed == true
    database.engine.dispose()


def test_events_hold_what_happened(make_event: Callable[..., Event]) -> None:
    event = make_event()
    assert Event.model_validate_json(event.model_dump_json()) == event
