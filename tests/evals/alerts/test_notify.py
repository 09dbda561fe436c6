"""Everybody is told once, and one who cannot be reached keeps nobody else from hearing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.errors import Failed
from evals.alerts import AlertConfig, Delivery, Event, Webhook, alert, notify
from evals.comparison.results import Change, Comparison
from evals.database import Database, open_database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path / 'results.sqlite'}")


def test_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, make_event: Callable[..., Event], make_change: Callable[..., Change], make_comparison: Callable[..., Comparison]
) -> None:
    (tmp_path / "taken").write_text("")
    config = AlertConfig(
        markdown=tmp_path / "taken" / "report.md",
        junit=tmp_path / "report.xml",
        file=tmp_path / "events.jsonl",
        webhook=Webhook(url="http://127.0.0.1:9/x"),
    )
    done = notify(config, [make_event()], make_comparison(make_change()), suite="nightly")
    assert [each.stage if isinstance(each, Failed) else each.sink for each in done] == ["markdown", "junit", "file", "webhook"]
    assert [isinstance(each, Failed) for each in done] == [True, False, False, True]
    assert (tmp_path / "report.xml").exists()
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1


def test_without_events_only_summaries_are_written(tmp_path: Path, make_comparison: Callable[..., Comparison]) -> None:
    config = AlertConfig(
        markdown=tmp_path / "report.md", junit=tmp_path / "r.xml", file=tmp_path / "e.jsonl", webhook=Webhook(url="http://127.0.0.1:9/x")
    )
    done = notify(config, [], make_comparison(), suite="nightly")
    assert done == [Delivery("markdown", str(tmp_path / "report.md"), 0), Delivery("junit", str(tmp_path / "r.xml"), 0)]
    assert not (tmp_path / "e.jsonl").exists()


def test_an_alert_is_told_once_and_so_is_its_end(
    database: Database, tmp_path: Path, make_change: Callable[..., Change], make_comparison: Callable[..., Comparison]
) -> None:
    config = AlertConfig(file=tmp_path / "events.jsonl")
    for verdict in ("unchanged", "regressed", "regressed", "unchanged", "unchanged", "regressed"):
        alert(database, config, "nightly", make_comparison(make_change(verdict)), run="r")
    states = [json.loads(line)["state"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert states == ["regressed", "recovered", "regressed"]


def test_what_reaches_nobody_comes_again(
    database: Database, tmp_path: Path, make_change: Callable[..., Change], make_comparison: Callable[..., Comparison]
) -> None:
    comparison = make_comparison(make_change())
    unreachable = Webhook(url="http://127.0.0.1:9/x")
    first = alert(database, AlertConfig(webhook=unreachable), "nightly", comparison)
    assert len(first.events) == len(first.failed) == 1
    second = alert(database, AlertConfig(webhook=unreachable, file=tmp_path / "e.jsonl"), "nightly", comparison)
    assert second.events == first.events
    # The file has it, so it is told.
    assert alert(database, AlertConfig(webhook=unreachable), "nightly", comparison).events == []


def test_a_summary_is_not_enough_where_somebody_else_is_named(
    database: Database, tmp_path: Path, make_change: Callable[..., Change], make_comparison: Callable[..., Comparison]
) -> None:
    comparison, summary = make_comparison(make_change()), tmp_path / "report.md"
    both = AlertConfig(markdown=summary, webhook=Webhook(url="http://127.0.0.1:9/x"))
    first = alert(database, both, "nightly", comparison)
    assert alert(database, both, "nightly", comparison).events == first.events
    assert alert(database, AlertConfig(markdown=summary), "nightly", comparison).events == first.events
    assert alert(database, AlertConfig(markdown=summary), "nightly", comparison).events == []


def test_where_nobody_is_named_states_are_kept_all_the_same(
    database: Database, make_change: Callable[..., Change], make_comparison: Callable[..., Comparison]
) -> None:
    assert len(alert(database, AlertConfig(), "nightly", make_comparison(make_change())).events) == 1
    assert alert(database, AlertConfig(), "nightly", make_comparison(make_change())).events == []
