"""`explicate compare` and `explicate baseline` as a user gives them: a model that got worse is found by exit code, table and JSON."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from explicate.cli import app

N = 24
HOSTILE = "[red]</b>\x1b[2J"


@pytest.fixture(autouse=True)
def database(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", f"sqlite:///{workplace / 'store' / 'results.sqlite'}")
    return workplace / "store" / "results.sqlite"


@pytest.fixture
def measured(workplace: Path, call: Callable[..., Result]) -> Callable[..., Path]:
    """measured("out", wrong): the confidence that a model states which is wrong on these items, and refuses some."""
    labels = ("good", "bad")
    rows = [{"text": f"number {at}# a thing", "gold": labels[at % 2]} for at in range(N)]
    (workplace / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (workplace / "mine.toml").write_text(f'instruction = "What?"\nlabels = {json.dumps(labels)}\nitems = "items.jsonl"\n', encoding="utf-8")

    def measure(out: str, wrong: Sequence[int], refused: Sequence[int] = ()) -> Path:
        rules = []
        for at in range(N):
            answer = labels[1 - at % 2] if at in wrong else labels[at % 2]
            sure = 95 if at % 3 else 80
            rules.append({"contains": f"number {at}#", "reply": "No." if at in refused else f"Answer: {answer}\nConfidence: {sure}%"})
        script = {"rules": rules, "default": "No.", "capabilities": ["chat"]}
        (workplace / f"{out}.json").write_text(json.dumps(script), encoding="utf-8")
        asked = ("--task", "mine.toml", "--prompting", "vanilla", "--sampling", "none", "--no-deletion")
        call("confidence", f"scripted:{out}.json", *asked, "--out", out)
        return workplace / out

    return measure


def compared(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_a_swapped_model_that_is_worse_ends_with_exit_code_3(measured: Callable[..., Path]) -> None:
    good, worse = measured("good", wrong=[1, 2]), measured("worse", wrong=range(16))
    code, shown = compared(worse, "--baseline", good)
    assert code == 3
    said = " ".join(shown.split())
    for expected in ("accuracy ↑", "regressed", "vanilla none stated", "-.583", "n 24, paired", "changed, too: config.model"):
        assert expected in said
    assert "config.model: scripted:good.json → scripted:worse.json" in said
    assert "…" not in shown.split("What else changed")[0]
    assert not re.search(r"\bmean confidence\b", shown)
    assert "mean confidence" in compared(worse, "--baseline", good, "--all")[1]
    code, shown = compared(good, "--baseline", worse)
    assert (code, "improved" in shown, "regressed" in shown.split("Benjamini")[0].split("metrics:")[1]) == (0, True, False)


def test_json_is_one_object_with_every_metric(measured: Callable[..., Path]) -> None:
    good, worse = measured("good", wrong=[1, 2]), measured("worse", wrong=range(16))
    code, shown = compared(worse, "--baseline", good, "--json")
    found = json.loads(shown)
    assert code == 3
    by_name = {change["name"]: change for change in found["changes"]}
    accuracy = by_name["accuracy"]
    assert (accuracy["verdict"], accuracy["paired"]) == ("regressed", True)
    assert accuracy["difference"]["value"] == pytest.approx(-14 / 24)
    assert by_name["mean_confidence"]["verdict"] == "not watched"
    assert {"config.model", "model.name"} <= {change["what"] for change in found["provenance"]}


def test_a_run_with_itself_and_metrics_that_failed(measured: Callable[..., Path]) -> None:
    good, refusing = measured("good", wrong=[1, 2]), measured("refusing", wrong=[1, 2], refused=range(8))
    code, shown = compared(good, "--baseline", good)
    assert code == 0
    assert "no metric changed by more than its noise" in " ".join(shown.split())
    code, shown = compared(refusing, "--baseline", good)
    assert "failed" in shown
    assert "share parsed" in shown
    assert (code, compared(good, "--baseline", refusing)[0]) == (3, 0)
    assert compared(good, "--baseline", refusing, "--strict")[0] == 0
    # Eight refusals of 24 make the row void; one is within the noise.
    few = measured("few", wrong=[1, 2], refused=[5])
    assert (compared(few, "--baseline", good)[0], compared(few, "--baseline", good, "--strict")[0]) == (0, 0)


def test_strict_takes_a_metric_that_failed_for_a_regression(measured: Callable[..., Path]) -> None:
    good, right = measured("good", wrong=[1, 2, 4, 7]), measured("right", wrong=[])
    found = json.loads(compared(right, "--baseline", good, "--json")[1])
    assert {change["name"] for change in found["changes"] if change["verdict"] == "failed"} == {"auroc"}
    assert (compared(right, "--baseline", good)[0], compared(right, "--baseline", good, "--strict")[0]) == (0, 3)


def test_the_baseline_of_the_database_is_set_shown_used_and_cleared(
    call: Callable[..., Result], measured: Callable[..., Path], database: Path
) -> None:
    good, worse = measured("good", wrong=[1, 2]), measured("worse", wrong=range(16))
    assert "no baselines" in call("baseline", "show").stdout
    row = json.loads(call("baseline", "set", good, "--for", "worse", "--json").stdout)
    assert (row["name"], Path(row["folder"])) == ("worse", good)
    assert compared(worse)[0] == 3
    assert compared(good, "--baseline", row["run"])[0] == 0
    (shown,) = json.loads(call("baseline", "show", "--json").stdout)["baselines"]
    assert (shown["name"], shown["run"], shown["folder"]) == ("worse", row["run"], str(good))
    assert shown["set_at"].endswith("+00:00")
    assert f"worse: {row['run']}" in call("baseline", "show", "worse").stdout
    assert "worse has no baseline any more" in call("baseline", "clear", "worse").stdout
    with pytest.raises(ExplicateError, match=r"'worse' has no baseline.*--baseline.*explicate baseline set"):
        compared(worse)
    with pytest.raises(ExplicateError, match="'worse' has no baseline; those that have one: none"):
        call("baseline", "clear", "worse")


def test_a_void_baseline_is_minded(call: Callable[..., Result], measured: Callable[..., Path]) -> None:
    assert "this run is void" in call("baseline", "set", measured("refusing", wrong=[], refused=range(12))).stderr


def test_two_folders_need_no_database(measured: Callable[..., Path], database: Path) -> None:
    good = measured("good", wrong=[1, 2])
    assert compared(good, "--baseline", good)[0] == 0
    assert not database.exists()


def test_thresholds_and_alpha_of_a_suite(measured: Callable[..., Path], workplace: Path) -> None:
    good, worse = measured("good", wrong=[1, 2]), measured("worse", wrong=range(16))
    path = workplace / "suite.toml"
    body = '[[task]]\nname = "a"\nkind = "confidence"\nmodel = "m"\n'
    path.write_text(f'name = "mine"\n[thresholds."*"]\nminimum_effect = 2\n{body}', encoding="utf-8")
    assert compared(worse, "--baseline", good, "--suite", path)[0] == 0
    path.write_text(f'name = "mine"\nalpha = 1e-9\n{body}', encoding="utf-8")
    code, shown = compared(worse, "--baseline", good, "--suite", path, "--json")
    assert (code, json.loads(shown)["alpha"]) == (0, 1e-9)
    assert compared(worse, "--baseline", good, "--suite", path, "--alpha", "0.05")[0] == 3


def test_what_is_wrong_is_named(measured: Callable[..., Path]) -> None:
    good = measured("good", wrong=[1, 2])
    with pytest.raises(ExplicateError, match="'nowhere' is no folder, and no id of a run in the database"):
        compared("nowhere", "--baseline", good)
    with pytest.raises(ExplicateError, match=r"--alpha is 1\.5"):
        compared(good, "--baseline", good, "--alpha", "1.5")
    (good / "items.jsonl").unlink()
    with pytest.raises(ExplicateError, match=r"not whole.*items\.jsonl"):
        compared(good, "--baseline", good)


def test_hostile_names_steer_neither_table_nor_terminal(measured: Callable[..., Path], workplace: Path) -> None:
    good, worse = measured("good", wrong=[1, 2]), measured("worse", wrong=range(16))
    for name in ("manifest.json",):
        manifest = json.loads((worse / name).read_text("utf-8"))
        manifest["model"]["revision"] = manifest["prompts"][HOSTILE] = HOSTILE
        (worse / name).write_text(json.dumps(manifest), encoding="utf-8")
    renamed = worse.rename(workplace / "of [bold] worse")
    code, shown = compared(renamed, "--baseline", good)
    assert code == 3
    assert "\x1b[2J" not in shown
    assert "[red]</b>" in shown
    assert "of [bold] worse" in shown
