"""The history of one metric: its numbers, failures, and what changed in between."""

import re

from fastapi.testclient import TestClient
from sqlalchemy import update

from evals.bench.database import fill_runs
from evals.database import Database
from evals.database.tables import run

KEY = {"group": "suite-05", "task": "task-0", "name": "metric-0", "of": "of-0"}


def test_the_chart_the_table_and_json_have_the_same_runs(client: TestClient, store: Database) -> None:
    runs = fill_runs(store, 500, 2)
    own = runs[5::20]
    answer = client.get("/api/trends", params=KEY).json()
    assert [point["run"] for point in answer["points"]] == own
    failed = [point for point in answer["points"] if "failed" in point["value"]]
    assert failed
    assert all("value" not in point["value"] for point in failed)
    page = client.get("/trends", params=KEY).text
    chart, table = page[page.index("<svg") : page.index("</svg>")], page[page.index('<table class="metrics history stack">') :]
    assert re.findall(r'<a href="/runs/([0-9a-f]+)"', table) == own[::-1]
    assert re.findall(r'<a href="/runs/([0-9a-f]+)"', chart) == own[::-1]
    assert chart.count("<circle") == len(own) - len(failed)
    assert chart.count('class="failed"') == len(failed)
    assert table.count("every value is the same") == len(failed)


def test_limits_take_the_last_runs(client: TestClient, store: Database) -> None:
    own = fill_runs(store, 200, 1)[5::20]
    assert [point["run"] for point in client.get("/api/trends", params=KEY | {"limit": 3}).json()["points"]] == own[-3:]
    assert client.get("/api/trends", params=KEY | {"limit": 1001}).status_code == 422


def test_what_changed_is_named_at_the_run_where_it_did(client: TestClient, store: Database) -> None:
    own = fill_runs(store, 100, 1)[5::20]
    same = {"model": {"name": "a", "revision": "r1"}, "prompts": {"ask": "p1"}}
    with store.write() as connection:
        connection.execute(update(run).values(provenance=same))
        for each in own[3:]:
            connection.execute(update(run).where(run.c.id == each).values(provenance={**same, "model": {"name": "a", "revision": "<b>r2"}}))
    points = client.get("/api/trends", params=KEY).json()["points"]
    assert [point["changed"] for point in points] == [[], [], [], ["model.revision: r1 → <b>r2"], []]
    page = client.get("/trends", params=KEY).text
    assert page.count('class="mark"') == 1
    assert "model.revision: r1 → &lt;b&gt;r2" in page
    assert "<b>r2" not in page


def test_the_baseline_is_drawn_and_marked(client: TestClient, store: Database) -> None:
    own = fill_runs(store, 100, 1)[5::20]
    assert 'class="base"' not in client.get("/trends", params=KEY).text
    store.set_baseline("suite-05", own[2])
    page = client.get("/trends", params=KEY).text
    assert page.count('class="base"') == 1
    row = next(part for part in page.split("<tr>") if f'/runs/{own[2]}"' in part and "<td" in part)
    assert "baseline" in row


def test_what_no_run_has_is_not_found(client: TestClient, store: Database) -> None:
    fill_runs(store, 20, 1)
    for change in ({"group": "none"}, {"name": "none"}, {"task": ""}, {"of": "<script>alert(1)</script>"}):
        for path in ("/trends", "/api/trends"):
            answer = client.get(path, params=KEY | change)
            assert answer.status_code == 404
            assert "There is no run with this metric" in answer.text
    assert client.get("/trends").status_code == 422
    assert client.get("/trends", params=KEY | {"name": "x" * 201}).status_code == 422
