"""`explicate reindex` as a user gives it."""

import json
import shutil
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.audit.replay import replay
from evals.database import open_database
from explicate.commands.reindex import reindex

URL = "sqlite:///results.sqlite"
app = Typer()
app.command()(reindex)


@pytest.fixture
def runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """runs/ with a replayed audit, and a copy of it that is half deleted."""
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", URL)
    recording = workplace / "answers.jsonl"
    answers = {"good film": 0.9, "good": 0.8, "film": 0.5, "": 0.4}
    rows: list[dict[str, object]] = [{"text": text, "label": "yes", "confidence": confidence} for text, confidence in answers.items()]
    rows[-1]["label"] = "no"
    rows[0]["explanation"] = [["good", 0.8], ["film", 0.1]]
    recording.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replay(recording, workplace / "runs" / "audit", seed=0)
    shutil.copytree(workplace / "runs" / "audit", workplace / "runs" / "half")
    (workplace / "runs" / "half" / "items.jsonl").unlink()
    return workplace / "runs"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_runs_are_found_by_default_and_what_is_skipped_is_named(runs: Path) -> None:
    result = invoke()
    assert result.exit_code == 0
    assert result.stdout == "1 of 2 run folders are in the database 'results.sqlite'\n"
    assert result.stderr == f"skipped: {str(runs / 'half')!r} is half deleted: it has no items.jsonl; restore it, or remove the folder\n"
    with open_database(URL) as database:
        assert [(row.name, row.kind) for row in database.runs().rows] == [("audit", "audit")]


def test_json_is_one_object_and_nothing_else(runs: Path) -> None:
    result = invoke("runs", str(runs), "--json")
    assert json.loads(result.stdout) == {
        "database": "'results.sqlite'",
        "found": 2,
        "added": 1,
        "skipped": [
            {
                "folder": str(runs / "half"),
                "reason": f"{str(runs / 'half')!r} is half deleted: it has no items.jsonl; restore it, or remove the folder",
            }
        ],
    }
    assert result.stderr == ""


def test_a_folder_that_is_not_there_is_told(runs: Path) -> None:
    with pytest.raises(ExplicateError, match="'nowhere' is no folder to look for runs in"):
        invoke("nowhere")


def test_the_help_has_an_example() -> None:
    assert "Example: explicate reindex runs" in invoke("--help").stdout
