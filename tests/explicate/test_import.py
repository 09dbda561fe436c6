"""`explicate import` and `explicate rescore` as a user gives them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from analyzers.errors import ExplicateError
from explicate.commands.import_ import import_
from explicate.commands.rescore import rescore

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


def test_help_has_an_example() -> None:
    assert "Example: explicate import batch-0.json --out" in " ".join(call("import", "--help").stdout.split())
    assert "Example: explicate rescore runs/theirs" in " ".join(call("rescore", "--help").stdout.split())
