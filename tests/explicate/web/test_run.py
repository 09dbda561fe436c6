"""The page of one run, its JSON, and the static report that it serves from the run's folder alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import update

from evals.bench.database import fill_runs
from evals.database import Database
from evals.database.tables import run
from evals.metrics import metrics_of
from evals.results import Value

Build = Callable[..., Path]
REPORT = "<!doctype html><title>r</title><script>document.cookie</script><p>the report</p>"


def test_a_run_has_all_metrics_of_its_folder_on_the_page_and_in_json(
    client: TestClient, store: Database, tmp_path: Path, label_run: Build
) -> None:
    folder = label_run(tmp_path / "labels")
    known = store.add_run(folder)
    page, answer = client.get(f"/runs/{known}").text, client.get(f"/api/runs/{known}").json()
    expected = metrics_of(folder)
    assert [(each["task"], each["name"], each["of"]) for each in answer["metrics"]] == [each.key for each in expected]
    assert [each["value"] for each in answer["metrics"]] == [each.value.model_dump() for each in expected]
    assert answer["run"]["kind"] == "label"
    assert answer["baseline"] is None
    table = page[page.index('<table class="metrics of-run">') :]
    assert table.count('<td class="figure-of">') == len(expected) == 4
    assert all(f"<b>{each.value.value:.2f}</b>".replace("0.", ".") in table for each in expected if isinstance(each.value, Value))
    assert f'href="/runs/{known}/sites"' in page
    assert "subject.revision" in page


def test_each_kind_leads_to_its_own_page(
    client: TestClient, store: Database, tmp_path: Path, audit_run: Build, confidence_run: Build
) -> None:
    for build, name in ((audit_run, "items"), (confidence_run, "reliability")):
        known = store.add_run(build(tmp_path / name))
        page = client.get(f"/runs/{known}").text
        assert f'href="/runs/{known}/{name}"' in page
        assert client.get(f"/runs/{known}/{name}").status_code == 200


def test_a_metric_that_failed_is_named_with_its_reason_and_never_a_number(
    client: TestClient, store: Database, tmp_path: Path, confidence_run: Build
) -> None:
    known = store.add_run(confidence_run(tmp_path / "stated"))
    page = client.get(f"/runs/{known}").text
    row = next(part for part in page.split("<tr>") if "name=auroc" in part and "<td" in part)
    assert "failed at measure: undefined &lt;/style&gt;" in row
    assert "<b>" not in row
    assert "<script>alert" not in page
    assert "nan" not in row.lower()


def test_a_trend_ends_at_the_run_that_is_shown(client: TestClient, store: Database) -> None:
    runs = fill_runs(store, 80, 1)
    for place, length in ((0, 0), (20, 2), (40, 3), (60, 4)):
        page = client.get(f"/runs/{runs[place]}").text
        table = page[page.index('<table class="metrics of-run">') :]
        points = [len(line.split()) for line in re.findall(r'<polyline points="([^"]+)"', table)]
        failed = table.count('class="failed"')
        assert sum(points) + failed + table.count('class="whisker"') == length


def test_unknown_runs_are_a_page_or_json_that_says_so(client: TestClient) -> None:
    for path in ("/runs/none", "/runs/none/report", "/runs/none/verdict", "/runs/" + "x" * 150):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "There is no run of this id" in answer.text
        assert 'aria-label="Pages"' in answer.text
    assert client.get("/runs/" + "x" * 201).status_code == 422
    assert client.get("/api/runs/none").json() == {"detail": "There is no run of this id; it may have been taken out of the database."}


def test_the_report_is_served_without_an_origin(client: TestClient, store: Database, tmp_path: Path, label_run: Build) -> None:
    folder = label_run(tmp_path / "labels")
    known = store.add_run(folder)
    assert client.get(f"/runs/{known}/report").status_code == 404
    assert "report" not in re.findall(r'class="button" href="[^"]*/(\w+)"', client.get(f"/runs/{known}").text)
    (folder / "report.html").write_text(REPORT, encoding="utf-8")
    answer = client.get(f"/runs/{known}/report")
    assert answer.text == REPORT
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert f'href="/runs/{known}/report"' in client.get(f"/runs/{known}").text


def test_a_report_that_is_a_link_out_of_its_folder_is_not_served(
    client: TestClient, store: Database, tmp_path: Path, label_run: Build
) -> None:
    folder = label_run(tmp_path / "labels")
    known = store.add_run(folder)
    (tmp_path / "secret").write_text("a secret", encoding="utf-8")
    (folder / "report.html").symlink_to(tmp_path / "secret")
    answer = client.get(f"/runs/{known}/report")
    assert answer.status_code == 404
    assert "secret" not in answer.text
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    assert client.get(f"/runs/{known}/report").status_code == 404


def test_a_run_whose_folder_is_gone_is_still_shown(client: TestClient, store: Database, tmp_path: Path, label_run: Build) -> None:
    known = store.add_run(label_run(tmp_path / "labels"))
    (tmp_path / "labels").rename(tmp_path / "away")
    assert client.get(f"/runs/{known}").status_code == 200
    assert client.get(f"/runs/{known}/report").status_code == 404


def test_a_void_run_says_that_its_figures_are_not_to_be_used(client: TestClient, store: Database, tmp_path: Path, label_run: Build) -> None:
    known = store.add_run(label_run(tmp_path / "labels"))
    assert "not to be used" not in client.get(f"/runs/{known}").text
    with store.write() as connection:
        connection.execute(update(run).values(void=True))
    assert "This run is void" in client.get(f"/runs/{known}").text
    assert '<span class="tag bad">void</span>' in client.get("/").text


def test_a_suite_lists_its_tasks(client: TestClient, store: Database, tmp_path: Path, label_run: Build, audit_run: Build) -> None:
    folder = tmp_path / "nightly-1"
    label_run(folder / "tasks" / "neurons")
    audit_run(folder / "tasks" / "words")
    tasks = [
        {"name": name, "kind": kind, "status": "done", "folder": f"tasks/{name}"}
        for name, kind in (("neurons", "label"), ("words", "audit"))
    ]
    results = {"name": "nightly", "tasks": tasks, "started": "2026-01-02T03:00:00+00:00", "finished": "2026-01-02T03:20:00+00:00"}
    results |= {"calls": {"made": 3, "cached": 0}, "tokens": {"prompt": 1, "completion": 1}, "usd": 0.0, "manifest": {}}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "command": "suite", "config": {}}), encoding="utf-8")
    known = store.add_run(folder)
    page = client.get(f"/runs/{known}").text
    parts = {each.name: each.id for each in store.runs(parent=known).rows}
    assert set(parts) == {"neurons", "words"}
    assert all(f'href="/runs/{part}"' in page for part in parts.values())
    assert f'href="/runs/{parts["neurons"]}/sites"' in page
    assert re.findall(r'<th colspan="6" scope="rowgroup">(\w+)</th>', page) == ["neurons", "words"]
    part = client.get(f"/runs/{parts['neurons']}").text
    assert f'href="/runs/{known}">nightly</a>' in part
    assert "20 min" in page
    assert client.get("/api/runs").json()["total"] == 1
