"""`explicate edit` from end to end, on tiny models: what stands on stdout, what is saved, what --json holds, and mistakes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from typer.testing import CliRunner, Result

from evals.editing.measures import MEASURES
from evals.editing.results import Asking, Edited, EditsAsked, EditTold, Outcome, Step
from explicate.cli import app

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
EDITS: list[dict[str, Any]] = [
    {
        "case_id": 0,
        "prompt": "The old bridge was",
        "subject": "old bridge",
        "target_new": "opened",
        "ground_truth": "carried",
        "rephrase_prompt": "In the summer the old bridge was",
        "locality_prompt": "The river rises in the",
        "locality_ground_truth": "hills",
    },
    {
        "case_id": 7,
        "prompt": "The school teaches",
        "subject": "school",
        "target_new": "honey",
        "ground_truth": "music",
        "rephrase_prompt": "They said that the school teaches",
        "locality_prompt": "There are markets on",
        "locality_ground_truth": "Mondays",
    },
]


@pytest.fixture
def arguments(tiny_checkpoint: Callable[[str], Path], workplace: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What every call has: a model, two edits, and a small text."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("analyzers.editing.contexts.LENGTHS", ((1, 5),))
    (workplace / "edits.json").write_text(json.dumps(EDITS), encoding="utf-8")
    model = tiny_checkpoint("gpt2")
    return ["edit", model, "--edits", "edits.json", "--covariance", tiny_corpus, "--tokens", 1000, "--generate", 8, "--device", "cpu"]


def test_edits_are_measured_saved_and_asked(call: Callable[..., Result], arguments: list[Any]) -> None:
    evaluated = (*arguments, "--dtype", "float32", "--method", "rome,ft,ice", "--evaluate", "--sequential", "-o", "edited")
    result = call(*evaluated)
    shown = " ".join(result.stdout.split())
    for said in (
        "2 edits, layer 0 (a fifth of the depth",
        "ROME: edit success",
        "random, as ROME",
        "every weight is as it was, to the bit",
    ):
        assert said in shown
    assert "The old bridge was" in shown
    assert "to edit: 2 facts by rome, ft, ice" in result.stderr
    printed = json.loads(call(*evaluated, "--json").stdout)
    assert printed.pop("report") == "edited/report.html"
    assert json.loads(Path("edited/results.json").read_text(encoding="utf-8")) == printed
    found = Edited.model_validate(printed)
    assert set(found.methods) == {"unedited", "random_rome", "random_ft", "rome", "ft", "ice"}
    assert {name: set(each) for name, each in found.above.items()} == {
        "rome": {"unedited", "random_rome"},
        "ft": {"unedited", "random_ft"},
        "ice": {"unedited"},
    }
    assert found.restored_exactly
    assert [step.edits for step in found.sequence["rome"]] == [0, 1, 2]
    page = Path("edited/report.html").read_text(encoding="utf-8")
    for said in ("Facts edited in", "told in context", "How far each edit goes", "Edit after edit", "Not shown by this."):
        assert said in page
    assert "http" not in page.replace("http-equiv", "")
    model = arguments[1]
    asked = json.loads(call("edit", model, "--load", "edited", "--ask", "The old bridge was", "--dtype", "float32", "--json").stdout)
    (answer,) = EditsAsked.model_validate(asked).answers
    assert answer.without != answer.edited
    longer = ("--load", "edited", "--ask", "The old bridge was", "--dtype", "float32", "--generate", 30, "--json")
    (more,) = EditsAsked.model_validate(json.loads(call("edit", model, *longer).stdout)).answers
    assert more.edited.startswith(answer.edited)
    assert len(more.edited) > len(answer.edited)
    assert "edited:" in call("edit", model, "--load", "edited/deltas.safetensors", "--ask", "The school").stdout


def no_room(_model: Any, folder: Path) -> None:
    folder.mkdir()
    raise SafetensorError("I/O error: No space left on device (os error 28)")


def test_an_edited_model_is_a_model(call: Callable[..., Result], arguments: list[Any]) -> None:
    """Edits of two folders, one after the other; what is exported says without edits what the model says with them."""
    model = arguments[1]
    call(*arguments, "--method", "rome", "-o", "one", "--dtype", "float32")
    call(*arguments, "--method", "ft", "-o", "other", "--dtype", "float32")
    both = ["--load", "one", "--load", "other", "--ask", "The old bridge was", "--dtype", "float32", "--json"]
    asked = EditsAsked.model_validate(json.loads(call("edit", model, *both, "--export", "whole").stdout))
    assert (asked.methods, asked.exported) == (["rome", "ft"], "whole")
    assert len(asked.edits) == 4
    single = EditsAsked.model_validate(json.loads(call("edit", model, *both[:2], *both[4:]).stdout))
    assert single.exported is None
    assert len({file.stat().st_mode for file in Path("whole").iterdir()}) == 1, "some files are closed to others"
    assert not list(Path().glob(".whole*"))
    call(*(str(each) if each != model else "whole" for each in arguments), "--method", "ft", "-o", "third", "--dtype", "float32")
    again = EditsAsked.model_validate(json.loads(call("edit", "whole", "--load", "third", *both[4:]).stdout))
    assert again.answers[0].without == asked.answers[0].edited
    ended = CliRunner().invoke(app, ["edit", str(model), *both, "--export", "whole"])
    assert "it is there already" in str(ended.exception)
    # A full disk leaves nothing behind.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.PreTrainedModel.save_pretrained", no_room)
        ended = CliRunner().invoke(app, ["edit", str(model), *both, "--export", "full"])
    assert "'full' cannot be written (I/O error: No space left on device" in str(ended.exception)
    assert not list(Path().glob("*full*"))
    # Edits of the plain model are none of the edited one.
    ended = CliRunner().invoke(app, ["edit", "whole", *both])
    assert "the edits were written into" in str(ended.exception)


def test_edits_are_written_without_being_measured(call: Callable[..., Result], arguments: list[Any]) -> None:
    found = Edited.model_validate(json.loads(call(*arguments, "--dtype", "float32", "--json").stdout))
    assert (found.methods, found.saved, found.sequence) == ({}, None, {})
    assert all(each.after is not None for each in found.edits)


@pytest.mark.parametrize("more", [["--evaluate"], ["--sequential"], ["-o", "other"]])
def test_saved_edits_are_not_measured_anew(arguments: list[Any], more: list[str]) -> None:
    ended = CliRunner().invoke(app, ["edit", str(arguments[1]), "--load", "edited", "--ask", "The", *more])
    assert "are of new edits; with --load give --ask PROMPT or --export FOLDER" in str(ended.exception)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--method", "mend"], "--method: 'mend'; choose some of rome, memit, ft, ice"),
        (["--method", "ice"], "changes no weight"),
        (["--format", "csv"], "--format 'csv' is none"),
        (["--layer", "9"], "has the layers 0 to 2"),
        (["-o", "edited.html"], "name a folder"),
        (["-o", "edits.json/"], "name a folder"),
        (["--tokens", "3"], "--tokens 3: too few"),
        (["--generate", "1"], "--generate 1"),
        (["--edits", "none.jsonl"], "there is no file 'none.jsonl'"),
        (["--load", "edited"], "give one of them"),
        (["--ask", "The"], "name their folder by --load"),
        (["--export", "whole"], "name their folder by --load"),
    ],
)
def test_mistakes_are_told(arguments: list[Any], more: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, [*map(str, arguments), *more])
    assert ended.exit_code != 0
    assert said in " ".join(f"{ended.stderr} {ended.exception}".split())


def test_an_encoder_and_edits_of_another_model(
    call: Callable[..., Result], arguments: list[Any], tiny_checkpoint: Callable[[str], Path]
) -> None:
    ended = CliRunner().invoke(app, [str(each) if each != arguments[1] else str(tiny_checkpoint("bert")) for each in arguments])
    assert "is an encoder" in str(ended.exception)
    call(*arguments, "--method", "ft", "-o", "edited")
    for load, said in (("edited", "the edits were written into"), ("none", "there is no deltas.safetensors")):
        ended = CliRunner().invoke(app, ["edit", str(tiny_checkpoint("llama")), "--load", load, "--ask", "The"])
        assert said in str(ended.exception)


def test_every_field_is_documented() -> None:
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate edit` |"))
    asked = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate edit --load FOLDER` |"))
    named = set(re.findall(r"`(\w+)`", row))
    assert {field for kind in (Edited, EditTold, Outcome, Step) for field in kind.model_fields} - named == set()
    assert {field for kind in (EditsAsked, Asking) for field in kind.model_fields} - set(re.findall(r"`(\w+)`", asked)) == set()
    section = DOCUMENTED.split("### The measures of `explicate edit`")[1].split("\n## ")[0]
    assert {name for name in MEASURES if f"`{name}`" not in section} == set()
