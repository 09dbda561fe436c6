"""`explicate attention` as a user gives it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.attention import CAUTION, Attention, Flow, HeadRoles, HeadStatistics, RoleScore
from explicate.cli import app
from explicate.running import plain

TEXT = "the [red]river\x1b[2J was :cold:"


@pytest.fixture
def arguments(tiny_checkpoint: Callable[[str], Path], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    return ["attention", str(tiny_checkpoint("llama")), TEXT]


def call(arguments: list[str], *more: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_table_has_every_token_and_every_role_and_no_control_signs(arguments: list[str]) -> None:
    shown = call(arguments, "--rollout", "--flow", "--query", "0,3").stdout
    for expected in ("3 layers of 4 heads", "last layer", "rollout", "flow from 0", "flow from 3", "previous", "induction", "chance"):
        assert expected in shown
    tokens = json.loads(call(arguments, "--json").stdout)["tokens"]
    rows = dict(re.findall(r"^ +(\d+) +(\S+)", shown, re.MULTILINE))
    assert len(tokens) > 10
    for place, token in enumerate(tokens):
        assert rows[str(place)] == plain(token).strip().replace("\\[", "[") or not token.strip()
    assert "[" in rows.values()
    assert "\x1b[2J" not in shown
    assert f"{CAUTION} To learn that, change the text" in " ".join(shown.split())


def test_with_all_columns_there_is_still_room_for_tokens(arguments: list[str]) -> None:
    shown = call(arguments, "--rollout", "--flow", "--norms", "--target", " and").stdout
    (header,) = re.findall(r"^ *token .*$", shown, re.MULTILINE)
    assert header.split() == ["token", "last", "layer", "rollout", "flow", "norms", "×", "gradient"]
    assert re.search(r"^ +\d+ +the +\d", shown, re.MULTILINE)
    assert "…" not in shown


def test_json_is_one_object_that_is_documented(arguments: list[str]) -> None:
    told = json.loads(call(arguments, "--json", "--rollout", "--flow", "--target", " and").stdout)
    found = Attention.model_validate(told)
    assert "report" not in told
    assert len(found.attention) == 3
    assert len(found.attention[0]) == 4
    assert found.token_ids
    documented = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    line = next(line for line in documented.splitlines() if line.startswith("| `explicate attention` |"))
    fields = (*Attention.model_fields, *Flow.model_fields, *HeadStatistics.model_fields, *HeadRoles.model_fields, *RoleScore.model_fields)
    assert [key for key in fields if f"`{key}`" not in line] == []


def test_norms_and_gradients_are_sums_over_layers(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    asked = (*arguments, "--norms", "--target", " and", "--dtype", "float32")
    found = Attention.model_validate(json.loads(call(list(asked), "--json").stdout))
    shown = call(list(asked)).stdout
    (header,) = re.findall(r"^ *token .*$", shown, re.MULTILINE)
    assert header.split() == ["token", "last", "layer", "norms", "×", "gradient"]
    rows = {
        int(row[0]): row[1:] for row in re.findall(r"^ +(\d+) .*? ([\d.e-]+) █* +([\d.e-]+) (█*) +([\d.e-]+) (█*) *$", shown, re.MULTILINE)
    }
    norms, slopes = np.sum(found.norms, axis=(0, 1))[-1], np.sum(found.gradient, axis=0)[len(found.tokens) - 1]
    assert len(rows) > 10
    for place, (_, norm, bar, slope, _) in rows.items():
        assert float(norm) == pytest.approx(norms[place], abs=0.006)
        assert len(bar) == round(8 * norms[place] / norms.max())
        assert float(slope) == pytest.approx(slopes[place], rel=0.06, abs=1e-6)


def test_the_drawing_has_a_panel_of_all_that_was_asked_for(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "attention.svg"
    call(arguments, "--norms", "--target", " and", "--rollout", "--flow", "-o", str(out))
    drawn = out.read_text("utf-8")
    for expected in (
        "Attention of each head",
        "Value norms",
        "Attention × gradient of the log-probability of “ and”",
        "Rollout",
        "Flow through",
    ):
        assert expected in drawn


def test_an_encoder_is_told_from_its_mask(masked_model: Callable[..., tuple[Any, Any]], workplace: Path) -> None:
    for part in masked_model("bert"):
        part.save_pretrained("bert")
    asked = ["attention", "bert", "The [MASK] rises in the hills", "--target", "river", "--dtype", "float32"]
    found = Attention.model_validate(json.loads(call(asked, "--json").stdout))
    shown = call([*asked, "-o", "page.html"]).stdout
    assert "What [MASK] (token 2) takes from each token" in " ".join(shown.split())
    rows = {int(row[0]): row[1] for row in re.findall(r"^ +(\d+) .*? +([\d.e-]+) █* *$", shown, re.MULTILINE)}
    slopes = np.sum(found.gradient, axis=0)[2]
    assert sorted(rows) == list(range(len(found.tokens)))
    assert [float(rows[place]) for place in range(len(rows))] == pytest.approx(slopes, rel=0.06, abs=1e-6)
    assert "</span> at its mask, positive part" in Path("page.html").read_text("utf-8")


def test_roles_that_were_not_measured_are_told(tiny_model: Callable[..., tuple[object, object]], workplace: Path) -> None:
    model, tokenizer = tiny_model("gpt2", max_position_embeddings=20)
    for part in (model, tokenizer):
        part.save_pretrained("short")  # type: ignore[attr-defined]
    shown = " ".join(call(["attention", "short", "The river", "-o", "page.html"]).stdout.split())
    assert "Heads by role: not measured (head roles are measured on texts of" in shown
    assert "the model takes 20" in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("ending", ["html", "svg", "json"])
def test_a_file_of_each_form_is_written(arguments: list[str], tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"attention.{ending}"
    shown = call(arguments, "--rollout", "-o", str(out)).stdout
    assert str(out) in shown.replace("\n", "")
    written = out.read_text("utf-8")
    if ending == "json":
        assert Attention.model_validate_json(written).rollout is not None
    else:
        assert written.startswith("<!doctype html>" if ending == "html" else "<svg")
        assert "\x1b" not in written
    assert [path.name for path in tmp_path.glob("attention*")] == [out.name]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["-o", "attention.pdf"], "name a file that ends with .html, .svg, .json"),
        (["-o", "nowhere/attention.html"], "there is no folder"),
        (["--query", "x", "--flow"], "give numbers of tokens"),
        (["--query", "1"], "give --flow"),
        (["--query", "99", "--flow"], "the text has the tokens 0-"),
        (["--target", ""], "not one continuation"),
        (["--chat", "--device", "none-of-these"], "choose auto"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments: list[str], more: list[str], told: str) -> None:
    with pytest.raises(ExplicateError, match=told) as error:
        CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("more", [["--device", "nowhere"], ["--dtype", "float99"]])
def test_a_device_or_a_number_format_is_refused_before_a_model_is_looked_for(
    more: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.assets.model_source", lambda *_args, **_kwargs: pytest.fail("it was looked for"))
    with pytest.raises(ExplicateError, match="choose auto"):
        CliRunner().invoke(app, ["attention", "no-such-model", "The river", *more], catch_exceptions=False)


def test_a_text_that_is_too_long_names_both_lengths(arguments: list[str]) -> None:
    with pytest.raises(ExplicateError, match=r"1,?024"):
        call([*arguments[:2], "word " * 2000])


def test_a_rollout_that_is_swallowed_by_the_first_token_is_told(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "whatever the text" not in call(arguments, "--rollout").stdout
    monkeypatch.setattr("explicate.attention_table.SUNK", 0.0)
    assert "whatever the text" in call(arguments, "--rollout").stdout
