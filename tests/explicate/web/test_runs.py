"""The first page and its JSON: the list with its filters, the trends, and what is worse than its baseline."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, update

from evals.bench.database import fill_runs
from evals.database import Database
from evals.database.tables import alert, metric, run
from explicate.web.runs import LAST, ROWS

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def filled(store: Database) -> list[str]:
    """Ids of 60 runs of three metrics, the oldest first: suites suite-00 to suite-19 in turn, three runs each."""
    return fill_runs(store, 60, 3)


def _names(page: str) -> list[str]:
    """Ids of the runs in the list of a page."""
    listed = page[page.index('<table class="runs">') :]
    return re.findall(r'<td class="words"><a href="/runs/([0-9a-f]+)"', listed)


def test_an_empty_database_says_how_to_fill_it(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "explicate reindex runs" in page.text
    assert client.get("/api/runs").json() == {"rows": [], "total": 0, "limit": ROWS, "offset": 0}


def test_pages_list_every_run_once_the_newest_first(client: TestClient, filled: list[str]) -> None:
    found: list[str] = []
    path: str | None = "/"
    while path is not None:
        page = client.get(path).text
        found += _names(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older[1].replace("&amp;", "&") if older else None
    assert found == filled[::-1]
    by_json = [row["id"] for offset in range(0, 60, 20) for row in client.get(f"/api/runs?limit=20&offset={offset}").json()["rows"]]
    assert by_json == found


def test_search_and_filters_find_what_they_name_and_keep_it_in_links(client: TestClient, filled: list[str]) -> None:
    of_suite = client.get("/?suite=suite-03").text
    assert _names(of_suite) == [filled[43], filled[23], filled[3]]
    found = client.get("/?q=MODEL-1&kind=suite").text
    assert _names(found) == filled[1::3][::-1]
    assert "q=MODEL-1" not in found or 'rel="next"' not in found
    assert re.search(r'name="q"[^>]*value="MODEL-1"', found)
    assert client.get("/api/runs?q=MODEL-1").json()["total"] == 20
    assert "No run matches" in client.get("/?q=nothing-has-this").text
    assert "No run matches" in client.get("/?kind=label").text
    second = client.get("/?q=suite&page=2").text
    assert re.search(r'rel="prev" href="/\?q=suite&amp;page=1"', second)


def test_a_search_is_shown_as_text(client: TestClient, filled: list[str]) -> None:
    page = client.get("/", params={"q": HOSTILE, "suite": f'"{HOSTILE}'}).text
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_what_models_and_folders_are_called_is_text(client: TestClient, store: Database, filled: list[str]) -> None:
    with store.write() as connection:
        connection.execute(update(run).values(model=HOSTILE, name=f'"{HOSTILE}', suite=HOSTILE, series=HOSTILE))
        connection.execute(update(metric).values(name="lift", task=f"{HOSTILE}'", of=HOSTILE).where(metric.c.position == 0))
    for path in ("/", f"/runs/{filled[-1]}", "/compare"):
        page = client.get(path).text
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


def test_trends_end_at_their_run_and_have_its_numbers(client: TestClient, store: Database, filled: list[str]) -> None:
    values = {filled[3]: 0.2, filled[23]: 0.4, filled[43]: 0.6}
    with store.write() as connection:
        for each, number in values.items():
            where = (metric.c.run_id == each) & (metric.c.position == 0)
            row = {"name": "lift", "value": number, "low": number - 0.1, "high": number + 0.1, "n": 9, "stage": None, "failure": None}
            connection.execute(update(metric).where(where).values(row))
    page = client.get("/?suite=suite-03").text
    rows = page[page.index('<table class="runs">') :].split("<tr>")[2:]
    assert [re.search(r"<b>(.*?)</b> <small>(.*?)</small>", row).groups() for row in rows] == [  # type: ignore[union-attr]
        (".60", ".50 to .70"),
        (".40", ".30 to .50"),
        (".20", ".10 to .30"),
    ]
    lines = [re.findall(r'<polyline points="([^"]+)"', row) for row in rows]
    assert [[len(line.split()) for line in each] for each in lines] == [[3], [2], []]
    heights = [float(point.split(",")[1]) for point in lines[0][0].split()]
    assert heights == sorted(heights, reverse=True)


def test_a_trend_ends_at_its_run_on_every_page_of_the_list(client: TestClient, store: Database) -> None:
    fill_runs(store, 2000, 1)
    with store.write() as connection:
        connection.execute(update(metric).values(name="lift"))
    page = client.get("/?page=40").text
    rows = page[page.index('<table class="runs">') :].split("<tr>")[2:]
    assert len(rows) == ROWS
    for row in rows:
        drawn = sum(len(line.split()) for line in re.findall(r'<polyline points="([^"]+)"', row))
        assert drawn + row.count('class="failed"') + row.count('class="whisker"') == LAST


def test_what_got_worse_is_the_headline(client: TestClient, store: Database, filled: list[str]) -> None:
    at = datetime(2020, 1, 9, tzinfo=UTC)
    with store.write() as connection:
        for place, each in ((3, 0.5), (43, 0.1)):
            where = (metric.c.run_id == filled[place]) & (metric.c.position == 1)
            row = {"name": "ece", "task": "t", "of": "stated", "value": each, "low": each - 0.1, "high": each + 0.1, "n": 9}
            connection.execute(update(metric).where(where).values(row | {"stage": None, "failure": None}))
        for key, state in ((["t", "ece", "stated"], "regressed"), (["t", "lift", ""], "fine"), (["u", "", ""], "missing")):
            connection.execute(insert(alert).values(suite="suite-03", key=json.dumps(key), state=state, since=at, last_run=filled[43]))
    store.set_baseline("suite-03", filled[3])
    page = client.get("/").text
    alarm = page[page.index('<section class="alarm"') : page.index("</section>")]
    assert "2 metrics of suite-03 worse than the baseline" in alarm
    assert alarm.count("<li>") == 2
    assert ".50 → .10" in alarm
    assert "lift" not in alarm.lower()
    assert f"/compare?run={filled[43]}" in alarm
    assert page.index('<section class="alarm"') < page.index("suite-03</a></h2>") < page.index('<table class="runs">')
    assert 'class="tile worse"' in page
    assert '<section class="alarm"' not in client.get("/?suite=suite-04").text
    assert '<section class="alarm"' in client.get("/?suite=suite-03").text


def test_the_list_is_drawn_from_a_bounded_number_of_statements(client: TestClient, store: Database, filled: list[str]) -> None:
    from sqlalchemy import event

    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    client.get("/")
    few = len(asked)
    extra = [{"id": f"x{at}", "folder": f"/nowhere/x{at}"} for at in range(300)]
    base: dict[str, Any] = {
        "parent": None,
        "kind": "suite",
        "name": "suite-00",
        "suite": "suite-00",
        "series": "suite-00",
        "model": "m",
        "status": "done",
    }
    base |= {"void": False, "finished": datetime(2019, 1, 1, tzinfo=UTC), "provenance": {}, "searched": "", "indexed_at": datetime.now(UTC)}
    with store.write() as connection:
        connection.execute(insert(run), [{**base, **each} for each in extra])
    asked.clear()
    client.get("/")
    assert 0 < len([each for each in asked if each.startswith("SELECT")]) <= few


def test_real_run_folders_of_every_kind_have_a_headline(
    client: TestClient,
    store: Database,
    tmp_path: Path,
    label_run: Callable[..., Path],
    audit_run: Callable[..., Path],
    confidence_run: Callable[..., Path],
) -> None:
    for name, build in (("labels", label_run), ("audit", audit_run), ("stated", confidence_run)):
        store.add_run(build(tmp_path / name))
    page = client.get("/").text
    assert len(_names(page)) == 3
    assert "Lift" in page
    assert "ECE" in page
    assert "<script>alert" not in page


def test_times_are_of_utc(client: TestClient, store: Database, filled: list[str]) -> None:
    zone = datetime(2031, 7, 1, 1, 30, tzinfo=UTC) + timedelta(hours=1)
    with store.write() as connection:
        connection.execute(update(run).where(run.c.id == filled[0]).values(finished=zone))
    assert "2031-07-01 02:30" in client.get("/").text
    assert client.get("/api/runs?limit=1").json()["rows"][0]["finished"] == "2031-07-01T02:30:00Z"
