"""Long tables as parquet and CSV, read back by other means, and the page."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import ExplicateError, RunFolderError
from evals.exports import EXPORTS
from evals.exports.csv import defused
from evals.exports.long_table import COLUMNS
from evals.metrics import metrics_of
from evals.results import Value

MakeRun = Callable[[str], Path]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_formats_are_found() -> None:
    assert list(EXPORTS.all()) == ["csv", "html", "inspect", "mlflow", "neuronpedia", "openai", "parquet", "saelens"]
    with pytest.raises(
        ExplicateError, match="no format is called 'xlsx'; choose one of csv, html, inspect, mlflow, neuronpedia, openai, parquet, saelens"
    ):
        EXPORTS.get("xlsx")


def test_parquet_has_every_metric_of_the_run(run: Path, out: Path) -> None:
    assert EXPORTS.get("parquet")(run, None) == [f"{run.name}.parquet"]
    rows = pq.read_table(out / f"{run.name}.parquet").to_pylist()
    found = {(row["task"], row["name"], row["of"]): row for row in rows if row["kind"] == "metric"}
    metrics = metrics_of(run)
    assert len(metrics) > 1
    assert [*found] == [metric.key for metric in metrics]
    for metric in metrics:
        row = found[metric.key]
        assert row["n_failed"] == metric.n_failed
        if isinstance(metric.value, Value):
            assert [row[key] for key in ("value", "low", "high", "n")] == [*metric.value.model_dump().values()]
            assert row["failure"] is None
        else:
            assert row["failure"] == f"{metric.value.stage}: {metric.value.reason}"
    for row in rows:
        assert (row["value"] is None) == (row["failure"] is not None)
        assert row["run"] == run.name
        assert (row["kind"] == "item") == bool(row["item"])


ITEMS: dict[str, list[tuple[str, str, float | None]]] = {
    "label": [
        ("explanation", "pearson", 0.4),
        ("explanation", "lift", -0.2),
        ("explanation top", "pearson", 0.6),
        ("null", "pearson", None),
        ("explanation", "pearson", None),
        ("explanation", "lift", None),
        ("null", "pearson", None),
    ],
    "audit": [
        *[
            ("attribution predict-first", "confidence", 0.75),
            ("attribution predict-first", "correct", 1.0),
            ("self attribution predict-first delete", "comprehensiveness", 0.25),
            ("self attribution predict-first delete", "sufficiency", None),
        ]
        * 2,
        ("attribution predict-first", "confidence", None),
    ],
    "confidence": [
        ("vanilla none stated", "confidence", 0.9),
        ("vanilla none stated", "correct", 1.0),
        ("vanilla none stated", "confidence", None),
        ("vanilla none stated", "correct", None),
    ],
}


@pytest.mark.parametrize("kind", ITEMS)
def test_parquet_has_every_score_of_every_item(kind: str, make_run: MakeRun, out: Path) -> None:
    EXPORTS.get("parquet")(make_run(kind), "items.parquet")
    rows = [row for row in pq.read_table(out / "items.parquet").to_pylist() if row["kind"] == "item"]
    assert [(row["of"], row["name"], row["value"]) for row in rows] == ITEMS[kind]


def test_a_suite_has_the_rows_of_its_tasks(make_run: MakeRun, out: Path) -> None:
    suite = make_run("suite")
    EXPORTS.get("parquet")(suite, "whole.parquet")
    whole = pq.read_table(out / "whole.parquet").to_pylist()
    assert {row["task"] for row in whole} == {"neurons", "reviews"}
    for name in ("neurons", "reviews"):
        EXPORTS.get("parquet")(suite / "tasks" / name, "part.parquet")
        part = [{**row, "run": "suite", "task": name} for row in pq.read_table(out / "part.parquet").to_pylist()]
        assert [row for row in whole if row["task"] == name] == part


def test_csv_says_the_same_as_parquet(run: Path, out: Path) -> None:
    EXPORTS.get("csv")(run, None)
    EXPORTS.get("parquet")(run, None)
    rows = read_csv(out / f"{run.name}.csv")
    typed: list[dict[str, Any]] = pq.read_table(out / f"{run.name}.parquet").to_pylist()
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == len(typed)
    for row, other in zip(rows, typed, strict=True):
        for column in COLUMNS:
            if isinstance(other[column], float):
                assert float(row[column]) == other[column]
            else:
                assert row[column] == defused("" if other[column] is None else str(other[column]))


@pytest.mark.parametrize("kind", ["label", "audit", "confidence"])
def test_no_cell_of_a_model_is_a_formula(kind: str, make_run: MakeRun, out: Path) -> None:
    EXPORTS.get("csv")(make_run(kind), None)
    rows = read_csv(out / f"{kind}.csv")
    texts = {row[column] for row in rows for column in COLUMNS if column not in ("value", "low", "high", "n", "n_failed")}
    assert any("HYPERLINK" in text for text in texts)
    assert any("second line" in text for text in texts) or kind == "label"
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))]
    # Numbers are not texts, and a negative one stays one.
    assert all(float(row["value"]) < 0 for row in rows if row["value"].startswith("-"))


@given(st.text())
def test_defused_text_begins_no_formula_and_is_what_it_was(text: str) -> None:
    safe = defused(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert safe.removeprefix("'") == text.removeprefix("'")
    assert len(safe) <= len(text) + 1


def test_the_page_is_one_file(run: Path, out: Path) -> None:
    assert EXPORTS.get("html")(run, None) == [f"{run.name}.html"]
    assert (out / f"{run.name}.html").read_bytes() == (run / "report.html").read_bytes()


def test_a_run_without_a_page_says_how_to_draw_it(make_run: MakeRun, out: Path) -> None:
    run = make_run("audit")
    (run / "report.html").unlink()
    with pytest.raises(RunFolderError, match=r"has no report\.html; draw it by `explicate report"):
        EXPORTS.get("html")(run, None)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("format", ["csv", "parquet", "html"])
def test_places(format: str, make_run: MakeRun, out: Path) -> None:
    run, write = make_run("audit"), EXPORTS.get(format)
    assert write(run, "new/deep/a.table") == ["new/deep/a.table"]
    assert write(run, "new") == [f"new/audit.{format}"]
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(ExplicateError, match="file of the run itself"):
        write(run, str(run / "results.json"))
    (out / "file").write_text("")
    with pytest.raises(ExplicateError, match="choose another --out"):
        write(run, "file/a.table")
    assert {path: path.read_bytes() for path in run.iterdir()} == before


@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.parametrize("gone", ["manifest.json", "results.json", "items.jsonl"])
def test_a_folder_that_is_half_deleted_leaves_nothing(format: str, gone: str, make_run: MakeRun, out: Path) -> None:
    run = make_run("audit")
    (run / gone).unlink()
    with pytest.raises(RunFolderError, match=gone.replace(".", r"\.")):
        EXPORTS.get(format)(run, None)
    assert list(out.iterdir()) == []


def test_an_item_that_is_damaged_leaves_nothing(make_run: MakeRun, out: Path) -> None:
    run = make_run("audit")
    with (run / "items.jsonl").open("a") as file:
        file.write(json.dumps({"text": 1}) + "\n")
    with pytest.raises(RunFolderError, match=r"items\.jsonl.* cannot be read"):
        EXPORTS.get("csv")(run, None)
    assert list(out.iterdir()) == []


def test_halves_of_characters_are_no_obstacle(make_run: MakeRun, out: Path) -> None:
    run = make_run("label")
    results = json.loads((run / "results.json").read_text("utf-8"))
    results["sites"][0]["controls"]["null"]["pearson"]["reason"] = "half \ud800"
    (run / "results.json").write_text(json.dumps(results))
    for format in ("csv", "parquet"):
        EXPORTS.get(format)(run, None)
    assert "replies: half ?" in {row["failure"] for row in read_csv(out / "label.csv")}
