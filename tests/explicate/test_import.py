"""`explicate import` and `explicate rescore` as a user gives them."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from analyzers.errors import ExplicateError, RunFolderError
from evals.exchange.config import ImportConfig
from evals.exchange.results import ImportedResults, ImportedSite, Problem, ProblemKind, Published
from evals.results import RunResults, SiteResult
from explicate.commands.import_ import import_
from explicate.commands.rescore import rescore
from explicate.label_table import named

app = typer.Typer()
app.command("import")(import_)
app.command("rescore")(rescore)


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def source(workplace: Path) -> Path:
    """Two explained features of Neuronpedia's, one of them with an explanation that is none."""
    lines: list[dict[str, Any]] = []
    for index, text in ((7, 'the word "dog"'), (8, "[red]Explanation could not be parsed.")):
        named = {"modelId": "gpt2-small", "layer": "0-res-jb", "index": str(index)}
        score = {"value": 0.875, "explanationScoreTypeName": "eleuther_fuzz", "explanationScoreModelName": "gpt", "jsonDetails": ""}
        lines.append({**named, "description": text, "scores": [score]})
        for number in range(40):
            tokens = [f" w{index}-{number}-{at}" for at in range(8)]
            tokens[number % 8] = " dog"
            lines.append({**named, "tokens": tokens, "values": [4.0 + number / 9 if token == " dog" else 0.0 for token in tokens]})
    path = workplace / "theirs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_import_says_what_is_wrong_and_what_comes_next(source: Path) -> None:
    said = " ".join(call("import", source, "--out", "runs/theirs").stdout.split())
    assert "gpt2-small/0-res-jb/7" in said
    assert "unparsed-explanation gpt2-small/0-res-jb/8: '[red]Explanation could not be parsed.'" in said
    assert "Next: explicate rescore runs/theirs" in said
    assert Path("runs/theirs/report.html").is_file()


def test_json_is_one_object_with_the_layout_of_a_labelling_run(source: Path) -> None:
    results = json.loads(call("import", source, "--out", "runs/theirs", "--json").stdout)
    assert [site["site"] for site in results["sites"]] == ["gpt2-small/0-res-jb/7", "gpt2-small/0-res-jb/8"]
    assert results["sites"][0]["published"] == {"eleuther_fuzz(gpt)": 0.875}
    assert results["sites"][0]["controls"]["token_lookup"]["pearson"]["value"] > 0.9
    assert {problem["kind"] for problem in results["problems"]} == {"unparsed-explanation", "documents-unknown"}


def test_rescore_scores_what_can_be_scored(source: Path) -> None:
    call("import", source, "--out", "runs/theirs")
    results = json.loads(call("rescore", "runs/theirs", "--simulator", "lexical", "--json").stdout)
    assert (results["n_scored"], results["n_failed"]) == (1, 1)
    scored, unparsed = results["sites"]
    assert scored["scores"]["pearson"]["value"] > 0.9
    assert scored["published"] == {"eleuther_fuzz(gpt)": 0.875}
    assert unparsed["scores"]["pearson"]["stage"] == "explain"
    said = " ".join(call("rescore", "runs/theirs", "--simulator", "lexical").stdout.split())
    assert "1 scored, 1 failed; leak audit passed" in said
    assert "unparsed-explanation" in said


def test_what_cannot_be_read_is_one_message(workplace: Path) -> None:
    with pytest.raises(ExplicateError, match="neither a file nor a folder"):
        call("import", "nothing", "--out", "runs/x")
    (workplace / "x.json").write_text("{}")
    with pytest.raises(ExplicateError, match="choose one of delphi, neuronpedia, openai, saedashboard, transluce"):
        call("import", "x.json", "--format", "parquet", "--out", "runs/x")
    with pytest.raises(ExplicateError, match=r"x.json' .*expected 'neuron_id' among its keys"):
        call("import", "x.json", "--format", "openai", "--out", "runs/x")
    assert not Path("runs/x").exists()


@pytest.mark.parametrize("width", ["80", "200"])
def test_lines_fit_the_terminal_however_long_names_are(width: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines: list[dict[str, Any]] = []
    for index, text in ((7, 'the word "dog"'), (123456, "dogs and every other animal that people keep at home " * 8)):
        named = {"modelId": "gemma-2-2b", "layer": "20-gemmascope-res-16k", "index": str(index)}
        score = {"value": 0.875, "explanationScoreTypeName": "eleuther_fuzz", "explanationScoreModelName": "gpt-4o-mini"}
        lines.append({**named, "description": text, "scores": [score]})
        for number in range(40):
            tokens = [f" w{index}-{number}-{at}" for at in range(8)]
            tokens[number % 8] = " dog"
            lines.append({**named, "tokens": tokens, "values": [4.0 + number / 9 if token == " dog" else 0.0 for token in tokens]})
    (workplace / "theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for command in (("import", "theirs.jsonl", "--out", "runs/theirs"), ("rescore", "runs/theirs", "--simulator", "lexical")):
        said = call(*command).stdout
        assert max(len(line.rstrip()) for line in said.splitlines()) <= int(width)
        # Names and explanations are there, and none of the numbers is cut.
        for part in ("gemma-2-2b/", "123456", "word", '"dog"', "people"):
            assert part in said
        assert not re.search(r"[\d.]…", said)


def test_names_of_sites_are_cut_after_slashes_and_steer_nothing() -> None:
    assert named("L7.mlp.1306") == "L7.mlp.1306"
    assert named("gpt2-small/0-res-jb/0", 16) == "gpt2-small/\n0-res-jb/0"
    assert named("gpt2-small/0-res-jb/0", 30) == "gpt2-small/0-res-jb/0"
    for name in ("x" * 50, "a//b/" * 9, "/" * 40, "é/" * 30):
        lines = named(name, 16).split("\n")
        assert "".join(lines) == name
        assert max(map(len, lines)) <= 16
    assert named("[red]x") == "\\[red]x"


def test_the_page_says_what_is_wrong_and_what_was_published(source: Path) -> None:
    call("import", source, "--out", "runs/theirs")
    page = Path("runs/theirs/report.html").read_text(encoding="utf-8")
    assert "Problems in the data" in page
    assert "Explanation could not be parsed." in page
    assert "imported in the format &#39;neuronpedia&#39;" in page
    assert "Nothing is scored, so no simulator was tested." in page
    call("rescore", "runs/theirs", "--simulator", "lexical")
    page = Path("runs/theirs/report.html").read_text(encoding="utf-8")
    assert "eleuther_fuzz(gpt) <b>0.88</b>" in page
    assert "Shown to the explainer: among the loudest" in page
    assert "the same for all sites" not in page


def test_what_is_not_known_to_have_been_shown_is_not_called_so(workplace: Path) -> None:
    """Records alone: nobody explained them."""
    lines = [
        {"modelId": "m", "layer": "0", "index": "1", "tokens": [f" w{number}", " x"], "values": [number, 0.0]} for number in range(1, 40)
    ]
    (workplace / "theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    call("import", "theirs.jsonl", "--out", "runs/theirs")
    page = Path("runs/theirs/report.html").read_text(encoding="utf-8")
    assert "What the look-ups learnt from: among the loudest" in page
    assert "Shown to the explainer" not in page
    assert "what explainers were shown, and what the look-ups learnt from" not in page
    with pytest.raises(RunFolderError, match="has no explanation of any site, so there is nothing to score; import records together with"):
        call("rescore", "runs/theirs", "--simulator", "lexical")


def documented() -> str:
    document = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    return document.split("## Imported data")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("line", "model", "base"),
    [("results.json has one key more", ImportedResults, RunResults), ("Each of `sites` has more keys", ImportedSite, SiteResult)],
)
def test_tables_of_the_docs_have_the_keys_that_imported_data_adds(line: str, model: type[BaseModel], base: type[BaseModel]) -> None:
    table = re.findall(r"^\| (?:key|of a site) .*?\n\n", documented().split(line)[1], re.MULTILINE | re.DOTALL)[0]
    first = {key for row in re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert first == set(model.model_fields) - set(base.model_fields)
    assert first


def test_every_key_and_kind_of_problem_is_documented(source: Path) -> None:
    said = set(re.findall(r"`([\w-]+)`", documented()))
    for model in (Problem, Published, ImportConfig):
        assert set(model.model_fields) - said == set()
    assert set(get_args(ProblemKind)) <= said
    call("import", source, "--out", "runs/theirs")
    lines = [json.loads(line) for line in Path("runs/theirs/imported.jsonl").read_text(encoding="utf-8").splitlines()]
    keys = {key for line in lines for key in line} | {key for line in lines for told in line.get("told", ()) for key in told}
    assert keys - said == set()
    # The files that are there.
    assert {path.name for path in Path("runs/theirs").iterdir() if not path.name.startswith(".")} <= set(
        re.findall(r"`([\w.]+)`", documented())
    )


def test_help_has_an_example() -> None:
    assert "Example: explicate import batch-0.json --out" in " ".join(call("import", "--help").stdout.split())
    assert "Example: explicate rescore runs/theirs" in " ".join(call("rescore", "--help").stdout.split())
