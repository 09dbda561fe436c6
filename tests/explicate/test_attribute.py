"""`explicate attribute` as a user gives it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.attribute import Attributed, AttributedBy, Interaction
from explicate.cli import app


@pytest.fixture
def arguments(tiny_llm: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    text = "the [red]food\x1b[2J was :cold:"
    return ["attribute", str(tiny_llm), text, "--labels", "good,[b]bad", "--budget", "20", "--unit", "spaced"]


def call(arguments: list[str], *more: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_table_has_every_unit_and_method_and_no_control_signs(arguments: list[str]) -> None:
    shown = call(arguments, "--method", "occlusion,lime").stdout
    for expected in ("chooses among: good", "occlusion", "lime", "[red]food", ":cold:", "[b]bad", "different texts", "log-probabilities"):
        assert expected in shown
    assert "shapley" not in shown
    assert "\x1b[2J" not in shown


def test_json_is_one_object(arguments: list[str]) -> None:
    found = Attributed.model_validate(json.loads(call(arguments, "--json").stdout))
    assert set(found.methods) == {"occlusion", "shapley"}
    assert all(len(by.values) == len(found.units) for by in found.methods.values())
    assert found.methods["occlusion"].errors is None
    assert len(found.methods["shapley"].errors or ()) == len(found.units)
    documented = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    line = next(line for line in documented.splitlines() if line.startswith("| `explicate attribute` |"))
    assert all(
        f"`{key}`" in line for key in (*Attributed.model_fields, *AttributedBy.model_fields, *Interaction.model_fields, *found.model)
    )


def test_interactions_are_shown_below_the_table(arguments: list[str]) -> None:
    shown = call(arguments, "--interactions", "--method", "occlusion").stdout
    pairs = [line for line in shown.splitlines() if line.startswith("together ")]
    assert 0 < len(pairs) <= 5
    assert any("[red]food" in line for line in pairs)
    assert "\x1b[2J" not in shown


def test_a_model_that_only_states_its_confidence(arguments: list[str], workplace: Path) -> None:
    rules = [{"contains": "Text: the was", "reply": "Answer: good\nConfidence: 60%"}]
    script = {"rules": rules, "default": "Answer: good\nConfidence: 90%", "capabilities": ["chat"]}
    (workplace / "script.json").write_text(json.dumps(script), encoding="utf-8")
    asked = ["attribute", f"scripted:{workplace / 'script.json'}", "the food was", "--labels", "good,bad", "--method", "occlusion"]
    found = Attributed.model_validate(json.loads(call(asked, "--json").stdout))
    assert found.methods["occlusion"].values == pytest.approx([0, 0.3, 0])
    assert (found.belief, found.value, found.label_mass) == ("stated", "probability", None)
    assert found.prompt_tokens > 0
    shown = call(asked).stdout
    assert "(by stated confidence)" in shown
    assert "probability of good" in " ".join(shown.split())
    # What was asked once is in the reply cache.
    assert "; 0 tokens computed" in " ".join(shown.split())


def test_demonstrations_of_a_task(arguments: list[str]) -> None:
    task = Path("shown.toml")
    Path("items.jsonl").write_text('{"text": "Cold soup."}\n', encoding="utf-8")
    task.write_text(
        'instruction = "Good or bad?"\nlabels = ["good", "bad"]\nitems = "items.jsonl"\n'
        'demonstrations = [{text = "Warm bread.", answer = "good"}, {text = "Stale bread.", answer = "bad"}]\n',
        encoding="utf-8",
    )
    asked = ["attribute", arguments[1], "Fresh bread.", "--task", str(task), "--unit", "demonstration", "--method", "occlusion", "--json"]
    found = Attributed.model_validate(json.loads(call(asked).stdout))
    assert found.units == ["Warm bread. (good)", "Stale bread. (bad)"]
    assert found.texts_evaluated == 3


def test_a_wrong_name_is_told_before_a_model_is_loaded(arguments: list[str]) -> None:
    missing = ["attribute", "no-such-model", *arguments[2:]]
    for more, named in (
        (["--method", "attention"], "kernel-shap, lime"),
        (["--operator", "swap"], "delete, mask"),
        (["--method", ","], "no method"),
        (["--unit", "letter"], "sentence, spaced, span, word"),
        (["--labels", "good"], "at least two different"),
        (["--labels", "good, Good"], "at least two different"),
        (["--task", "sentimnt"], "did you mean 'sentiment'"),
        (["--unit", "demonstration"], "demonstrations of a --task"),
    ):
        refused = CliRunner().invoke(app, [*missing, *more])
        assert isinstance(refused.exception, ExplicateError)
        assert named in str(refused.exception)
