"""`explicate export` as a user gives it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from analyzers.errors import ExplicateError
from evals.confidence.results import ConfidenceResults
from evals.results import Calls, Tokens
from explicate.commands.export import export

app = typer.Typer()
app.command()(export)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "measured"
    folder.mkdir(parents=True)
    results = ConfidenceResults(
        rows=[],
        deletion=None,
        replies=[],
        n_items=0,
        n_without_gold=0,
        calls=Calls(made=0, cached=0),
        tokens=Tokens(prompt=0, completion=0),
        usd=0,
        manifest={},
    )
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "command": "confidence", "config": {}}))
    (folder / "results.json").write_text(results.model_dump_json())
    (folder / "items.jsonl").write_text("")
    return folder


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_it_says_where_it_wrote(workplace: Path, run_folder: Path) -> None:
    result = call(run_folder, "--format", "csv", "--out", "table.csv")
    assert result.exit_code == 0
    assert result.stdout == "table.csv\n"
    with (workplace / "table.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file))[:3] == ["run", "task", "kind"]


def test_json_is_one_object(workplace: Path, run_folder: Path) -> None:
    result = call(run_folder, "--format", "parquet", "--json")
    assert json.loads(result.stdout) == {"format": "parquet", "written": ["measured.parquet"]}
    assert (workplace / "measured.parquet").is_file()


def test_an_unknown_format_lists_the_known(workplace: Path, run_folder: Path) -> None:
    with pytest.raises(ExplicateError, match="choose one of csv, html, inspect, mlflow, neuronpedia, openai, parquet, saelens"):
        call(run_folder, "--format", "excel")


def test_help_has_an_example() -> None:
    assert "Example: explicate export runs/nightly --format csv" in " ".join(call("--help").stdout.split())
