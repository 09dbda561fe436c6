"""`explicate attribute` as a user gives it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.attribute import Attributed, AttributedBy
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
    for expected in ("chooses among: good", "occlusion", "lime", "[red]food", ":cold:", "[b]bad", "different texts evaluated"):
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
    assert all(f"`{key}`" in line for key in (*Attributed.model_fields, *AttributedBy.model_fields, *found.model))


def test_a_wrong_name_is_told_before_a_model_is_loaded(arguments: list[str]) -> None:
    missing = ["attribute", "no-such-model", *arguments[2:]]
    for more, named in (
        (["--method", "attention"], "kernel-shap, lime"),
        (["--operator", "swap"], "delete, mask"),
        (["--method", ","], "no method"),
    ):
        refused = CliRunner().invoke(app, [*missing, *more])
        assert isinstance(refused.exception, ExplicateError)
        assert named in str(refused.exception)
