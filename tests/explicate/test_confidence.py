"""`explicate confidence` as a user gives it: the table, --json, limits, and a page that hostile text cannot break."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError, RunFolderError
from evals.confidence.measures import MEASURES
from evals.confidence.reliability import reliability
from evals.confidence.results import ConfidenceItem, ConfidenceResults
from explicate import cli
from explicate.cli import app
from explicate.confidence_page import write_confidence_page
from explicate.reliability_diagram import SIDE, diagram

HOSTILE = "</td><script>alert(1)</script> \x1b[2J [red]thing"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def asking(workplace: Path) -> list[str]:
    """Arguments of a measurement on ten texts, one of them hostile, with a model of rules that is wrong where it says 60 %."""
    labels = ("good", "bad")
    rows, rules = [], []
    for at in range(10):
        text = f"number {at}# {HOSTILE if at == 3 else 'splendid thing to have'}"
        rows.append({"text": text, "gold": labels[at % 2]})
        answer, sure = (labels[1 - at % 2], 60) if at in (3, 4) else (labels[at % 2], 95)
        # Without its number a text has no rule of its own.
        reply = f"Answer: {answer}\nConfidence: {sure}%\nWords: thing\nG1: {answer}\nP1: {sure}%"
        rules.append({"contains": f"number {at}#", "reply": reply})
    (workplace / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (workplace / "mine.toml").write_text(f'instruction = "What?"\nlabels = {json.dumps(labels)}\nitems = "items.jsonl"\n', encoding="utf-8")
    script = {"rules": rules, "default": "Answer: good\nConfidence: 50%\nG1: good\nP1: 50%", "capabilities": ["chat"]}
    (workplace / "script.json").write_text(json.dumps(script), encoding="utf-8")
    return ["confidence", "scripted:script.json", "--task", "mine.toml", "--samples", "3", "--out", "out"]


def test_the_table_has_a_line_for_every_row_and_what_deletion_did(call: Callable[..., Result], asking: list[str]) -> None:
    result = call(*asking, "--sampling", "none,self-random,misleading")
    shown = " ".join(result.stdout.split())
    for expected in ("vanilla", "top-k", "self-random", "misleading", "consistency", "avg-conf", "pair-rank", "stated"):
        assert expected in shown
    for expected in ("accuracy", "confidence", "ECE ↓", "floor .", "AUROC ↑", "Brier ↓", "AURC ↓"):
        assert expected in shown
    assert "0.80 " in shown
    assert "Confidence under deletion, asked by vanilla" in shown
    assert "Report: out/report.html" in shown
    assert "…" not in result.stdout
    assert re.search(r"10 items, \d+ questions .* at most \d+ calls", result.stderr)
    assert "under deletion" not in call(*asking[:-1], "other", "--no-deletion").stdout


def test_json_is_what_results_json_holds_and_what_is_documented(call: Callable[..., Result], asking: list[str]) -> None:
    shown = json.loads(call(*asking, "--json").stdout)
    assert shown == json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    assert ConfidenceResults.model_validate(shown).n_items == 10
    document = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    text = document.split("## A measurement of confidence")[1].split("\n## ")[0]
    assert shown.keys() == {key for row in re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    row = next(row for row in shown["rows"] if row["aggregate"] == "stated")
    assert list(row["measures"]) == list(MEASURES)
    keys = {*row, *row["measures"], *row["reliability"], *shown["deletion"], *shown["deletion"]["figures"], *shown["replies"][0]}
    items = [json.loads(line) for line in Path("out/items.jsonl").read_text(encoding="utf-8").splitlines()]
    keys |= {key for item in items for key in item}
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_the_same_command_asks_nothing_again(call: Callable[..., Result], asking: list[str]) -> None:
    first, page = json.loads(call(*asking, "--json").stdout), Path("out/report.html").read_bytes()
    again = json.loads(call(*asking, "--json").stdout)
    assert first["calls"]["made"] > 0
    assert again["calls"]["made"] == 0
    assert again["rows"] == first["rows"]
    assert Path("out/report.html").read_bytes() == page


def test_a_limit_stops_with_exit_code_4_and_the_same_command_goes_on(
    call: Callable[..., Result], asking: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["explicate", *asking, "--max-calls", "12"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 4
    said = capsys.readouterr()
    assert "stopped: --max-calls 12 is reached" in said.err
    assert "run the same command again" in said.err
    assert "items are not done" in said.err
    assert said.err.count("stopped: ") == 1
    assert "Void, not to be used: " in " ".join(said.out.split())
    shown = json.loads(call(*asking, "--json").stdout)
    assert shown["calls"]["made"] > 12
    assert {row["n"] for row in shown["rows"]} == {10}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prompting", "vanila"], "--prompting 'vanila': choose among cot, multi-step, self-probing, top-k, vanilla"),
        (["--sampling", "some"], "--sampling 'some': choose among misleading, none, paraphrase, self-random"),
        (["--aggregate", "mean"], "--aggregate 'mean': choose among consistency, avg-conf, pair-rank"),
        (["--task", "no.toml"], "there is no task 'no.toml'"),
        (["--max-calls", "0"], "--max-calls 0 allows nothing"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(asking: list[str], options: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, [*asking, *options])
    assert isinstance(refused.exception, ExplicateError)
    assert said in str(refused.exception)
    assert not Path("out").exists()


def test_the_page_loads_nothing_and_text_cannot_break_out_of_it(call: Callable[..., Result], asking: list[str]) -> None:
    call(*asking)
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;/td&gt;&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    rows = json.loads(Path("out/results.json").read_text(encoding="utf-8"))["rows"]
    assert page.count('<svg class="reliability"') == len(rows) > 1
    # Two wrong answers, of one of which the text is hostile.
    assert page.split("<h2>Confident and wrong</h2>")[1].split("<h2>")[0].count("60%") == 2


def test_a_row_without_figures_is_drawn_as_such(call: Callable[..., Result], asking: list[str]) -> None:
    Path("script.json").write_text(json.dumps({"rules": [], "default": f"{HOSTILE} no", "capabilities": ["chat"]}), encoding="utf-8")
    result = call(*asking, "--prompting", "vanilla,cot")
    assert "Void, not to be used: " in " ".join(result.stdout.split())
    assert "\x1b" not in result.stdout
    assert "[red]thing" in result.stdout
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "<svg" not in page
    assert page.count("No item has an answer with a confidence.") == 6
    assert "<script" not in page


def test_every_reason_is_said_once_with_its_number(call: Callable[..., Result], asking: list[str]) -> None:
    script = json.loads(Path("script.json").read_text(encoding="utf-8"))
    # Two of ten items: one without any answer, one without a confidence.
    script["rules"][5]["reply"] = "Rather not."
    script["rules"][7]["reply"] = "Answer: bad\nConfidence: high"
    Path("script.json").write_text(json.dumps(script), encoding="utf-8")
    result = call(*asking, "--prompting", "vanilla,cot", "--no-deletion")
    results = ConfidenceResults.model_validate_json(Path("out/results.json").read_text(encoding="utf-8"))
    reasons: dict[str, int] = {}
    for why in (why for each in results.replies for why in each.failed):
        reasons[f"{why.stage}, {why.reason}"] = reasons.get(f"{why.stage}, {why.reason}", 0) + why.n
    # Of two items one reply and three sampled ones, of two ways of asking; one of the reasons is the same in all of these.
    assert (sum(reasons.values()), max(reasons.values())) == (16, 8)
    shown = " ".join(result.stdout.split())
    assert shown.count("Why replies failed:") == 1
    # That a strategy's replies all failed is in their own reasons; that none states a confidence, by two ways of asking, is not.
    assert "none of 3 replies gives an answer" not in shown
    assert "2: aggregate, none of the 3 replies with an answer states a confidence" in shown.split("Why items failed besides")[1]
    for why, n in reasons.items():
        assert shown.count(why) == 1
        assert f"{n}: {why}" in shown
    assert "vanilla; cot: 2 of 10 items and 2 of 10 replies failed." in shown


def test_a_damaged_folder_is_told_in_one_line(call: Callable[..., Result], asking: list[str]) -> None:
    call(*asking)
    lines = Path("out/items.jsonl").read_text(encoding="utf-8")
    assert len([ConfidenceItem.model_validate_json(line) for line in lines.splitlines()]) == 10
    Path("out/items.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"items\.jsonl' cannot be read"):
        write_confidence_page(Path("out"))
    Path("out/results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunFolderError, match="is damaged"):
        write_confidence_page(Path("out"))


def test_the_diagram_places_bins_bands_and_bars() -> None:
    found = diagram(reliability([0.95, 0.95, 0.95, 0.95, 0.2], [True, True, True, False, False]))
    low, high = found["bins"]
    assert (low["left"], low["width"], low["x"], low["y"]) == (0.2 * SIDE, 0.1 * SIDE, 0.2 * SIDE, SIDE)
    assert (high["left"], high["x"], high["y"], high["meant"]) == (0.9 * SIDE, 0.95 * SIDE, 0.25 * SIDE, pytest.approx(0.05 * SIDE))
    # Wilson's interval of 3 of 4, as printed in tables.
    assert high["label"] == "stated 95%, right 75% [30%, 95%], 4 items"
    assert high["top"] == pytest.approx(SIDE * (1 - 0.9544), abs=0.1)
    assert high["height"] == pytest.approx(SIDE * (0.9544 - 0.3006), abs=0.1)
    assert low["size"] < high["size"]
    few, many = found["stated"]
    assert many["height"] == 4 * few["height"]
    assert many["right_height"] == 3 * few["height"]
    assert few["right_height"] == 0
    assert diagram(reliability([], [])) == {"side": SIDE, "bars": found["bars"], "bins": [], "stated": [], "highest": 1}
