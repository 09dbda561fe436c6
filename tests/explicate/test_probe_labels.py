"""`explicate probe MODEL` as a user gives it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.probes.labels_data import SAMPLE
from evals.probes.labels_results import LabelsProbed
from evals.probes.results import Lift, Probed
from explicate.commands.probe import app

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.fixture
def arguments(tiny_checkpoint: Callable[[str], Path], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "140")
    return [str(tiny_checkpoint("gpt2")), "--limit", "20", "--dtype", "float32"]


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_json_and_the_page_hold_the_same_figures(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "probe.html"
    told = json.loads(call(*arguments, "--control", "--mdl", "--json", "-o", str(out)).stdout)
    assert told.pop("report") == str(out)
    found = LabelsProbed.model_validate(told)
    assert found.task == "pos"
    assert found.items["train_sentences"] == 20
    assert set(found.layers[0].metrics) == {"accuracy", "selectivity", "mdl_compression"}
    metrics = DOCUMENTED.split("### The metrics of `explicate probe MODEL`")[1].split("###")[0]
    named = (*found.layers[0].metrics, *found.baselines, *found.curves, *found.figures)
    assert [name for name in named if f"`{name}`" not in metrics] == []
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate probe` (`explicate probe labels`) |"))
    own = [name for name in LabelsProbed.model_fields if name not in Probed.model_fields]
    assert [name for name in (*own, *found.items) if f"`{name}`" not in row] == []
    shared = DOCUMENTED.split("### What every probe prints")[1].split("###")[0]
    assert [name for name in Probed.model_fields if f"`{name}`" not in shared] == []
    assert f"{{{', '.join(Lift.model_fields)}}}" in shared
    page = out.read_text("utf-8")
    assert "Which labels are taken for which" in page
    for label in found.labels:
        assert f">{label}</text>" in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    again = tmp_path / "probe.json"
    call("labels", *arguments, "--control", "--mdl", "-o", str(again))
    assert LabelsProbed.model_validate_json(again.read_text("utf-8")) == found


def test_the_table_tells_baselines_and_confusions(arguments: list[str]) -> None:
    shown = " ".join(call(*arguments, "--task", "deprel", "--conllu", str(SAMPLE), "--no-random-init", "--probe", "mlp").stdout.split())
    for expected in ("deprel", "commonest label", "shuffled", "Taken for another at layer", "20 of 50 texts train"):
        assert expected in shown, expected
    assert "random weights" not in shown
    assert "built in" not in shown


def test_items_of_the_user_s_own(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "colours.jsonl"
    words = [("red", "colour"), ("tin", "metal"), ("blue", "colour"), ("iron", "metal")]
    lines = []
    for number in range(24):
        (one, first), (other, second) = words[number % 4], words[(number // 4 + number) % 4]
        text = f"the {one} box {number} and {other}"
        lines.append(
            json.dumps({"text": text, "spans": [[4, 4 + len(one)], [len(text) - len(other), len(text)]], "labels": [first, second]})
        )
    path.write_text("\n".join(lines), "utf-8")
    found = LabelsProbed.model_validate(json.loads(call(*arguments, "--items", str(path), "--no-random-init", "--json").stdout))
    assert (found.task, sorted(found.labels)) == ("colours", ["colour", "metal"])
    assert found.items["test"] == 10


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--task", "rhyme"], "no task is called 'rhyme'"),
        (["--probe", "svm"], "--probe 'svm': choose logistic, mlp, both"),
        (["--pool", "start"], "is a decoder"),
        (["--conllu", "none.conllu"], "there is no file 'none.conllu'"),
        (["--conllu", "a,b,c"], "--conllu names 3 files"),
        (["--items", "none.jsonl"], "there is no file 'none.jsonl'"),
        (["--items", "a.jsonl", "--conllu", "b.conllu"], "give one of them"),
        (["--task", "coordination-inversion"], "too few sentences for coordination-inversion"),
        (["--limit", "1"], "are too few for a probe"),
        (["-o", "probe.pdf"], "name a file that ends with .html, .json"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments: list[str], more: list[str], told: str) -> None:
    with pytest.raises(ExplicateError, match=told) as error:
        call(*arguments, *more)
    assert "\n" not in str(error.value)


def test_a_malformed_treebank_is_named_with_its_line(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "broken.conllu"
    path.write_text("# text = A b\n1\tA\ta\tDET\n\n", "utf-8")
    with pytest.raises(ExplicateError, match=r"broken.conllu' line 2: 4 columns"):
        call(*arguments, "--conllu", str(path))
