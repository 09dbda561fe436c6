"""`explicate icl` as a user gives it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import AssetError, ExplicateError
from evals.icl.analyses import ANALYSES
from evals.icl.results import Analysis, Curve, IclResults, TaskTold
from evals.icl.saving import ASKED, Saved, SavedAnswer, SavedAnswers
from evals.results import Failure, Value
from explicate.cli import app
from explicate.icl_table import PLACES, show_icl

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.fixture
def arguments(tiny_checkpoint: Callable[[str], Path], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "120")
    return ["icl", str(tiny_checkpoint("gpt2")), "--dtype", "float32", "--n", "4", "--seeds", "1", "--analyses", "isolate"]


@pytest.fixture
def saving(arguments: list[str]) -> list[str]:
    """What --save and --load take."""
    return arguments[:4]


def call(arguments: list[str], *more: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_json_is_one_object_that_is_documented(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "icl.json"
    told = json.loads(call(arguments, "--json", "-o", str(out), "--analyses", "flow,isolate,flow").stdout)
    assert told.pop("report") == str(out)
    found = IclResults.model_validate(told)
    assert IclResults.model_validate_json(out.read_text("utf-8")) == found
    assert list(found.analyses) == ["flow", "isolate"]
    line = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate icl` |"))
    fields = (*IclResults.model_fields, *Analysis.model_fields, *Curve.model_fields, *TaskTold.model_fields, *Value.model_fields)
    assert [key for key in fields if f"`{key}`" not in line] == []


def test_every_analysis_is_documented_and_so_are_flow_s_curves(arguments: list[str]) -> None:
    assert [name for name in ANALYSES.all() if f"\n| `{name}` |" not in DOCUMENTED] == []
    told = json.loads(call(arguments, "--json", "--analyses", "flow").stdout)["analyses"]["flow"]
    line = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `flow` |"))
    names = [*told["figures"], *(name.removesuffix("_by_head") for name in told["curves"])]
    assert [name for name in names if f"`{name}`" not in line] == []


def test_the_table_tells_figures_and_notes(arguments: list[str]) -> None:
    shown = call(arguments).stdout
    for expected in (
        "on sentiment: 4 items",
        "label loyalty/labels/first",
        "first: layers 0 to 0; last: layers 2 to 2",
        "chosen: negative",
    ):
        assert expected in shown


def test_long_curves_are_thinned_and_failures_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    some = Value(value=0.25, low=0.125, high=0.5, n=7)
    curve = Curve(over="layer", at=list(range(40)), values=[some] * 39 + [Failure(stage="score", reason="no \x1b[2J [red]items")])
    analysis = Analysis(figures={"auroc_late": Failure(stage="score", reason="too few")}, curves={"wp": curve})
    found = IclResults(
        model={"name": "m"},
        task=TaskTold(name="t", template="", labels=["[b]a", "b"], source="", digest=""),
        shots=1,
        seeds=1,
        seed=0,
        items=7,
        accuracy=some,
        largest_class=0.5,
        label_mass=some,
        chosen={"[b]a": 1.0, "b": 0.0},
        analyses={"flow": analysis},
    )
    show_icl(found, Path("icl.json"))
    shown = capsys.readouterr().out
    for expected in ("0.25 [0.12, 0.50]", "[b]a 1.00", "none (too few)", "wp: no", "[red]items", "Report: icl.json"):
        assert expected in shown
    rows = [line.split() for line in shown.splitlines() if line.split()[1:] in (["0.25"], ["none"])]
    assert (len(rows), rows[0][0], rows[-1]) == (PLACES, "0", ["39", "none"])
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--analyses", "flow,none-of-these"], "no analysis is called 'none-of-these'"),
        (["--analyses", ","], "names no analysis"),
        (["--task", "none-of-these"], "there is no in-context task"),
        (["--task", "trec"], "give --items"),
        (["--items", "nowhere.all"], "there is no file"),
        (["--shots", "0"], "give --shots 1"),
        (["-o", "icl.pdf"], "name a file that ends with"),
        (["-o", "nowhere/icl.json"], "there is no folder"),
        (["--device", "none-of-these"], "choose auto"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments: list[str], more: list[str], told: str) -> None:
    with pytest.raises(ExplicateError, match=told) as error:
        call([*arguments, *more])
    assert "\n" not in str(error.value)


def test_compressed_demonstrations_answer_from_their_file(saving: list[str], tmp_path: Path) -> None:
    file = str(tmp_path / "context.safetensors")
    saved = Saved.model_validate_json(call(saving, "--save", file, "--json").stdout)
    assert saved.path == file
    assert 0 < saved.kept < saved.tokens
    for figure in (saved.label_loyalty, saved.seconds_whole, saved.seconds_kept):
        assert isinstance(figure, Value)
        assert figure.n == ASKED
    assert all(isinstance(each, Value) and each.value > 0 for each in (saved.seconds_whole, saved.seconds_kept))
    assert len(saved.shown) == len(saved.labels) == 2
    asked = ["--load", file, "--ask", "A [b]dull\x1b[2J film", "--ask", "I laughed from beginning to end."]
    answered = SavedAnswers.model_validate_json(call(saving, *asked, "--json").stdout)
    assert [each.text for each in answered.answers] == asked[3::2]
    for each in answered.answers:
        assert sum(each.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert each.label == max(each.probabilities, key=lambda label: each.probabilities[label])
    shown = call(saving, *asked).stdout
    assert "\x1b[2J" not in shown
    assert "[b]dull" in shown
    shown = call(saving, "--save", file).stdout
    assert f"{saved.kept} are kept" in shown
    assert f"Share of {ASKED} items, none of them shown, that is answered as behind the whole: " in shown
    part = DOCUMENTED.split("`explicate icl --save FILE --json`")[1].split("\n\n")[0]
    assert [key for kind in (Saved, SavedAnswers, SavedAnswer) for key in kind.model_fields if f"`{key}`" not in part] == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--save", "a.safetensors", "--load", "b.safetensors"], "give one of them"),
        (["--save", "a.safetensors", "-o", "icl.json"], "give one of them"),
        (["--ask", "a text"], "give their file with --load"),
        (["--load", "none.safetensors", "--ask", "a text"], "there is no file 'none.safetensors'"),
        (["--save", "results.json"], r"'results.json' does not end with .safetensors"),
        (["--load", "none.safetensors"], "--load answers texts"),
        (["--load", "none.safetensors", "--ask", " "], "--ask has no text"),
        (["--load", "none.safetensors", "--ask", "a", "--task", "sentiment"], "--task is not for --load"),
        (["--load", "none.safetensors", "--ask", "a", "--n", "50"], "--n is not for --load"),
        (["--load", "none.safetensors", "--ask", "a", "--seed", "0"], "--seed is not for --load"),
        (["--save", "a.safetensors", "--analyses", "flow"], "--analyses is for the analyses"),
        (["--save", "a.safetensors", "--seeds", "3"], "--seeds is for the analyses"),
        (["--save", "nowhere/context.safetensors"], "name a file"),
    ],
)
def test_what_is_wrong_about_a_file_is_told(saving: list[str], more: list[str], told: str) -> None:
    with pytest.raises(ExplicateError, match=told):
        CliRunner().invoke(app, [*saving, *more], catch_exceptions=False)


def test_a_file_to_answer_from_is_looked_for_before_the_model(workplace: Path) -> None:
    with pytest.raises(AssetError, match=r"there is no file 'none.safetensors'.*--save"):
        CliRunner().invoke(app, ["icl", "no-such-model", "--load", "none.safetensors", "--ask", "a"], catch_exceptions=False)
    (workplace / "other.safetensors").write_text("mine", "utf-8")
    with pytest.raises(AssetError, match=r"other.safetensors' is no context that was saved by explicate icl \(.*--save"):
        CliRunner().invoke(app, ["icl", "no-such-model", "--load", "other.safetensors", "--ask", "a"], catch_exceptions=False)


def test_demonstrations_are_saved_of_as_few_items_as_are_shown(saving: list[str], tmp_path: Path) -> None:
    """None is kept to be asked about, and what is no file of tensors stays as it was."""
    items, other = tmp_path / "items.jsonl", tmp_path / "notes.txt"
    items.write_text("".join(json.dumps({"text": text, "label": text.split()[0]}) + "\n" for text in ("red one", "blue two")), "utf-8")
    task = tmp_path / "mine.toml"
    task.write_text('template = "T: {text}\\nA: {label}\\n"\nlabels = ["red", "blue"]\nitems = "items.jsonl"\n', "utf-8")
    out = tmp_path / "context.safetensors"
    saved = Saved.model_validate_json(call(saving, "--task", str(task), "--save", str(out), "--json").stdout)
    assert sorted(saved.shown) == ["blue two", "red one"]
    assert all(isinstance(each, Failure) for each in (saved.label_loyalty, saved.seconds_whole, saved.seconds_kept))
    assert "no items are left to ask about" in call(saving, "--task", str(task), "--save", str(out)).stdout
    other.write_text("mine", "utf-8")
    with pytest.raises(ExplicateError, match="does not end with"):
        call(saving, "--task", str(task), "--save", str(other))
    assert other.read_text("utf-8") == "mine"
    weights = tmp_path / "model.safetensors"
    weights.write_bytes((Path(saving[1]) / "model.safetensors").read_bytes())
    with pytest.raises(ExplicateError, match="is there and is no saved context; nothing else is written over"):
        call(saving, "--task", str(task), "--save", str(weights))
    assert weights.read_bytes() == (Path(saving[1]) / "model.safetensors").read_bytes()
    call(saving, "--task", str(task), "--save", str(out), "--json")


def test_the_table_tells_what_was_asked_and_what_could_not_be_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    some = Value(value=0.25, low=0.125, high=0.5, n=7)
    for seeds, items in ((2, 7), (3, 20)):
        found = IclResults(
            model={"name": "m"},
            task=TaskTold(name="t", template="", labels=["[b]a", "b"], source="", digest="", left_out=4),
            shots=1,
            seeds=seeds,
            seed=0,
            items=items,
            asked={"[b]a": 3, "b": 4},
            accuracy=some,
            largest_class=0.5,
            label_mass=some,
            chosen={"[b]a": 1.0, "b": 0.0},
            notes=["left out, nearly [b]the same: 3 texts"],
            analyses={"compress": Analysis(failure=Failure(stage="compress", reason="a [red]recurrent state"))},
        )
        show_icl(found, None)
        shown = " ".join(capsys.readouterr().out.split())
        for expected in (
            "asked: [b]a 3, b 4",
            "left out, without one true label: 4 texts",
            "left out, nearly [b]the same: 3 texts",
            "none (a [red]recurrent state)",
        ):
            assert expected in shown
        assert ("Few draws of demonstrations (2)" in shown) == (seeds == 2)
        assert ("Few items (7)" in shown) == (items == 7)
        assert "behind these very demonstrations" in shown
