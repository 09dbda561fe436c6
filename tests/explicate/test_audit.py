"""`explicate audit` as a user gives it: the table, --json, and a page that hostile text cannot break."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.audit.faithfulness import METRICS
from evals.audit.results import (
    Agreement,
    Answered,
    AuditItem,
    AuditResults,
    AuditRow,
    AuditSelftest,
    CheckResult,
    Drift,
    GroupVerdict,
    Metric,
    Missing,
    PairedDifference,
    Published,
    Replies,
)
from explicate.audit_items import audited_items
from explicate.audit_table import TITLES
from explicate.axis import Axis
from explicate.cli import app
from explicate.shaded_words import shaded, visible

HOSTILE = "</span><script>alert(1)</script>"
TURNED = "\u202e\u2066"
"""Marks that turn the direction of whatever stands after them."""
SENTENCES = [f"so {HOSTILE} good", "bad [red]film", "good film", "bad bad film"]


@pytest.fixture(autouse=True)
def few_items_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts of a handful of items, so that there is a word to show."""
    monkeypatch.setattr("evals.audit.verdict.FEWEST", 5)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Every subset of the sentences, answered by whether good or bad words prevail."""
    rows: dict[str, dict[str, object]] = {}

    def answer(words: tuple[str, ...]) -> dict[str, object]:
        total = 0.5 + 0.3 * words.count("good") - 0.2 * words.count("bad")
        label = "positive" if total >= 0.5 else "negative"
        return {"text": " ".join(words), "label": label, "confidence": max(total, 1 - total)}

    for sentence in SENTENCES:
        words = sentence.split(" ")
        for size in range(1, len(words) + 1):
            for kept in combinations(words, size):
                rows.setdefault(" ".join(kept), answer(kept))
        rows[sentence]["explanation"] = [[word, float(word in ("good", "bad"))] for word in words]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    return path


LIVE = [
    "superb film we saw",
    "we saw this superb thing",
    "the superb plot was slow",
    "on monday it was superb",
    f"superb {TURNED}plot {HOSTILE} here",
]
REFUSED = "this one is not to be judged"
REPLY = f"Rather not. {TURNED}\x1b[2J[red]{HOSTILE}"


@pytest.fixture
def asking(workplace: Path) -> list[str]:
    """Arguments of an audit of a model of rules, which is positive wherever it reads "superb" and says so; one text it refuses."""
    rules: list[dict[str, str]] = [{"contains": REFUSED, "reply": REPLY}]
    for text in LIVE:
        words = re.findall(r"[\w']+|[^\w\s]", text)
        importance = json.dumps([[word, float(word == "superb")] for word in words])
        reply = (
            f"Answer: positive\nConfidence: 90%\nImportance: {importance}\nWords: superb\nRedacted: {text.replace('superb', '[REDACTED]')}"
        )
        rules.append({"contains": f"Text: {text}", "reply": reply})
    rules.append({"contains": "superb", "reply": "Answer: positive\nConfidence: 90%"})
    script = {"rules": rules, "default": "Answer: negative\nConfidence: 60%", "capabilities": ["chat"]}
    (workplace / "script.json").write_text(json.dumps(script), encoding="utf-8")
    rows = [{"text": text, "label": "positive"} for text in [*LIVE, REFUSED]]
    (workplace / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ["audit", "scripted:script.json", "--items", "items.jsonl", "--random", "3", "--out", "out"]


class Page(HTMLParser):
    """Tags, attributes and text of a page; tags must balance."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        self.identifiers: list[str] = []
        self.links: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {(tag, name) for name, _ in attrs} | {(tag, "")}
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def page_of(folder: str = "out") -> Page:
    return Page(Path(folder, "report.html").read_text(encoding="utf-8"))


def squeezed(result: Result) -> str:
    return " ".join(result.stdout.split())


# ---- from recorded answers


def test_the_table_names_the_metrics_and_what_they_stand_beside(call: Callable[..., Result], answers: Path) -> None:
    shown = squeezed(call("audit", "--replay", answers))
    metrics = ("comprehensiveness ↑", "sufficiency ↓", "DF-MIT ↑", "DF-Frac ↓", "deletion rank ↑")
    for expected in ("self", "occlusion", *metrics, "random", "best", "Verdict: undecided"):
        assert expected in shown
    assert shown.count("paired over 4 items") == 2
    assert "self minus occlusion" in shown
    assert "self minus random" in shown
    assert shown.endswith("Report: runs/audit-answers/report.html")
    assert "paper" not in shown
    assert "…" not in shown
    for absent in ("calls made", "Drift", "Checks", "Replies"):
        assert absent not in shown
    assert "paper" in call("audit", "--replay", answers, "--paper-compat").stdout


def test_a_replay_names_the_items_whose_texts_the_recording_lacks(call: Callable[..., Result], answers: Path) -> None:
    assert "lacks" not in call("audit", "--replay", answers, "--out", "whole").stdout
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    # Without the answers to what is left of two items of three words each.
    lost = {"bad film", "so good", f"so {HOSTILE}", f"{HOSTILE} good"}
    kept = [row for row in rows if row["text"] not in lost or "explanation" in row]
    assert len(kept) == len(rows) - len(lost)
    answers.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    lacking = [SENTENCES[0], SENTENCES[3]]
    shown = call("audit", "--replay", answers, "--out", "lacking")
    expected = f"2 of 4 items lack figures because the recording lacks a text with words left out: '{lacking[0]}'; '{lacking[1]}'."
    assert expected in squeezed(shown)
    assert expected in squeezed(call("report", "lacking"))


def test_json_is_what_results_json_holds_and_report_shows_it_again(call: Callable[..., Result], answers: Path) -> None:
    shown = json.loads(call("audit", "--replay", answers, "--out", "out", "--json").stdout)
    assert shown == json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    assert AuditResults.model_validate(shown).n_items == 4
    page = Path("out/report.html")
    before = page.read_bytes()
    page.unlink()
    again = json.loads(call("report", "out", "--json").stdout)
    assert again.pop("report") == "out/report.html"
    assert again == shown
    assert page.read_bytes() == before
    assert "Does the recorded model explain itself" in call("report", "out").stdout


CONTRACT: tuple[type[BaseModel], ...] = (
    *(AuditResults, AuditRow, Metric, Missing, Published, PairedDifference, Agreement, Replies, Drift, CheckResult),
    *(AuditSelftest, GroupVerdict, AuditItem, Answered),
)


@pytest.mark.parametrize("model", CONTRACT)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    document = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    text = document.split("## An audit")[1].split("\n## ")[0]
    said = set(re.findall(r"`(\w+)`", text))
    # What a value has is said at the top.
    assert set(model.model_fields) - {"value", "low", "high"} - said == set()
    assert set(METRICS) <= said
    if model is AuditResults:
        keys = re.findall(r"^\| key.*?\n\n", text, re.MULTILINE | re.DOTALL)[0]
        first = {key for row in re.findall(r"^\| (`[^|]*`) \|", keys, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
        assert first == set(model.model_fields)


def test_the_page_loads_nothing_and_text_cannot_break_out_of_it(call: Callable[..., Result], answers: Path) -> None:
    call("audit", "--replay", answers, "--out", "out", "--paper-compat")
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;/span&gt;&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    # The word that decides is shaded for what was said and for what was found.
    assert len(re.findall(r'--f:1\.00;--g:0\.00" title="[^"]*">good<', page)) >= 2
    # Every metric has its chart, in which all sources stand beside each other.
    assert all(title in page_of().text for title in TITLES.values())
    assert "The audit, tested on itself" in page_of().text
    for absent in ("Replies", "Checks", "Drift floor"):
        assert absent not in page_of().text


def test_an_audit_cannot_be_leak_audited_or_mixed_with_another_run(call: Callable[..., Result], answers: Path, tmp_path: Path) -> None:
    call("audit", "--replay", answers, "--out", "out")
    for arguments in (["report", "out", "--leak-audit"], ["audit", "--replay", str(answers), "--out", "out", "--seed", "3"]):
        refused = CliRunner().invoke(app, arguments)
        assert isinstance(refused.exception, ExplicateError)
    assert "no labelling run" in str(CliRunner().invoke(app, ["report", "out", "--leak-audit"]).exception)
    mixed = CliRunner().invoke(app, ["audit", "--replay", str(answers), "--out", "out", "--seed", "3"])
    assert "seed" in str(mixed.exception)


def test_a_damaged_folder_is_told_in_one_line(call: Callable[..., Result], answers: Path) -> None:
    call("audit", "--replay", answers, "--out", "out")
    Path("out/items.jsonl").write_text("{}\n", encoding="utf-8")
    assert "items.jsonl' cannot be read" in str(CliRunner().invoke(app, ["report", "out"]).exception)
    Path("out/results.json").write_text("{}", encoding="utf-8")
    assert "is damaged (rows: Field required)" in str(CliRunner().invoke(app, ["report", "out"]).exception)


def test_text_of_a_run_cannot_steer_the_terminal(call: Callable[..., Result], answers: Path) -> None:
    call("audit", "--replay", answers, "--out", "out")
    found = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    found["rows"][1]["source"] = f"\x1b[2J[red]{TURNED}"
    found["verdict_reason"] = f"\x1b]0;title\x07 :cold: {TURNED}"
    Path("out/results.json").write_text(json.dumps(found), encoding="utf-8")
    shown = call("report", "out").stdout
    assert not {"\x1b", "\x07", *TURNED} & set(shown)
    assert "[red]" in shown
    assert ":cold: ⟨U+202E⟩" in " ".join(shown.split())
    assert not {"\x1b", *TURNED} & set(Path("out/report.html").read_text(encoding="utf-8"))


# ---- of a model that is asked


def test_a_live_audit_shows_every_way_of_asking(call: Callable[..., Result], asking: list[str]) -> None:
    result = call(*asking, "--elicit", "attribution,top-k", "--checks", "redaction")
    shown = squeezed(result)
    for expected in ("Does scripted:script.json explain itself faithfully? Comprehensiveness ↑", "occlu-", "normalised", "delete", "mask"):
        assert expected in shown
    # A row for every way of asking and operator, with the item that has no explanation beside those that have one.
    assert len(re.findall(r"^ (?:attribution|top-k|) +(?:delete|mask) +5 ", result.stdout, re.MULTILINE)) == 4
    assert result.stdout.split("Replies")[0].count("(1)") == 4
    assert re.search(r"attribution, predict-first: faithful, comprehensiveness above random rankings under delete, mask\.", shown)
    assert "Verdict of all ways of asking: faithful." in shown
    # No word of theirs is blank, and the paired differences are not said twice.
    assert "minus" not in shown
    assert "5 of 6" in shown
    assert "1 of 6 replies have no answer and explanation, most often (1): predict, no label" in shown
    assert re.search(r"redaction, predict-first undecided 1\.00 1\.00 to 1\.00 \.\d\d \.\d{3} 5 drop", shown)
    assert "Drift floor: a doubled space" in shown
    assert re.search(r"[\d,]+ texts asked by all methods, [\d,]+ evaluated, \d+% saved\.", shown)
    assert re.search(r"6 items; [1-9]\d* calls made, \d+ from the cache, [\d,]+ tokens, 0\.00 USD", shown)
    assert shown.endswith("Report: out/report.html")
    assert "did not pass its own test" not in shown
    assert not {"\x1b", *TURNED} & set(result.stdout)
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    # The columns are whole.
    assert "…" not in result.stdout


def test_a_wide_terminal_has_intervals_beside_their_values(
    call: Callable[..., Result], asking: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = call(*asking).stdout
    assert re.search(r"attribution +delete +5 \(1\) +\.\d\d \.\d\d to \.\d\d ", shown)


def test_the_page_of_a_live_audit_has_every_section(call: Callable[..., Result], asking: list[str]) -> None:
    call(*asking, "--elicit", "attribution,top-k", "--checks", "redaction")
    page = page_of()
    for section in ("verdicts", "faithfulness", "replies", "items", "checks", "drift", "selftest", "cost"):
        assert section in page.identifiers
    assert len(page.identifiers) == len(set(page.identifiers))
    assert {link.removeprefix("#") for link in page.links} == set(page.identifiers)
    text = page.text
    for expected in (
        "attribution, predict-first faithful",
        "self − random",
        "self − occlusion",
        "half-honest",
        "Passed",
        "5 of 6",
        "undecided as written",
    ):
        assert expected in text
    # One item by its first way of asking, the other folded away, and what the model wrote.
    assert text.count("1 other way of asking") == 6
    assert "no label in the reply" in text
    assert text.count("what it wrote") >= 2 * 5
    before = Path("out/report.html").read_bytes()
    call("report", "out", "--json")
    assert Path("out/report.html").read_bytes() == before


def test_what_a_model_says_adds_no_tag_and_turns_no_line(call: Callable[..., Result], asking: list[str], workplace: Path) -> None:
    call(*asking, "--checks", "redaction")
    hostile, page = Path("out/report.html").read_text(encoding="utf-8"), page_of()
    assert "&lt;/span&gt;&lt;script&gt;" in hostile
    assert not {"\x1b", *TURNED} & set(hostile)
    assert "⟨U+202E⟩" in page.text
    assert ("script", "") not in page.seen
    assert not any(name.startswith("on") for _, name in page.seen)
    # The same audit of harmless texts has the same tags and attributes.
    for name in ("script.json", "items.jsonl"):
        text = Path(name).read_text(encoding="utf-8")
        for part in (HOSTILE, json.dumps(TURNED)[1:-1], json.dumps("\x1b[2J")[1:-1]):
            text = text.replace(part, "x")
        Path(name).write_text(text, encoding="utf-8")
    call(*asking[:-1], "calm", "--checks", "redaction")
    assert page_of("calm").seen == page.seen


def test_json_of_a_live_audit_is_one_object_and_a_second_run_asks_nothing(call: Callable[..., Result], asking: list[str]) -> None:
    first = json.loads(call(*asking, "--json").stdout)
    assert AuditResults.model_validate(first).verdict == "faithful"
    again = json.loads(call(*asking, "--json").stdout)
    assert again["calls"]["made"] == 0
    assert {**again, "calls": None, "tokens": None} == {**first, "calls": None, "tokens": None}


def test_a_limit_is_said_before_what_there_is_and_the_same_command_goes_on(call: Callable[..., Result], asking: list[str]) -> None:
    stopped = CliRunner().invoke(app, [*asking, "--max-calls", "12"])
    assert stopped.exit_code == 4
    said = stopped.stderr[stopped.stderr.index("stopped: ") :]
    for expected in ("--max-calls 12 is reached", "run the same command again", "items are not audited"):
        assert expected in said
    # The terminal has both streams in the order in which they were written.
    assert stopped.output.index("stopped: ") < stopped.output.index("explain itself faithfully?")
    assert stopped.output.count("stopped: ") == 1
    assert squeezed(stopped).endswith("Report: out/report.html")
    assert page_of().text


def test_an_instrument_that_failed_and_void_rows_are_said_first(call: Callable[..., Result], asking: list[str]) -> None:
    call(*asking, "--elicit", "attribution,top-k")
    found = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    found["selftest"] |= {"passed": False, "reasons": [f"honest is below random {TURNED}\x1b"]}
    found["void"] = True
    for row in found["rows"]:
        row["void"] = row["source"] == "self" and row["elicitation"] == "top-k"
    found["unpriced"] = ["openai:\x1b[red]"]
    Path("out/results.json").write_text(json.dumps(found), encoding="utf-8")
    shown = squeezed(call("report", "out"))
    assert shown.startswith("The audit did not pass its own test, so it decides nothing: honest is below random ⟨U+202E⟩")
    assert "Void, not to be used: self, top-k, predict-first under delete, mask: more than a fifth" in shown
    assert "attribution, predict-first under" not in shown.split("Void, not to be used")[1].split(".")[0]
    assert "not counting openai:␛[red], whose price is not known" in shown
    text = page_of().text
    assert text.index("did not pass its own test") < text.index("All ways of asking together")
    assert "This audit is void." in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--elicit", "attributions"], ("--elicit 'attributions'", "attribution, ", "top-k", "redaction")),
        (["--elicit", ","], ("--elicit names nothing", "attribution")),
        (["--order", "first"], ("--order 'first'", "explain-first", "predict-first")),
        (["--operators", "drop"], ("--operators 'drop'", "delete", "mask", "neutral", "replace")),
        (["--persona", "queen"], ("--persona 'queen'", "you", "human", "objective")),
        (["--belief", "hunch"], ("--belief 'hunch'", "auto", "logprobs", "samples", "stated")),
        (["--belief", "logprobs"], ("logprobs",)),
        (["--checks", "redactions"], ("--checks 'redactions'", "redaction", "counterfactual", "suggestion")),
        (["--beside", "attention"], ("--beside 'attention'", "occlusion", "lime", "shapley", "kernel-shap")),
        (["--task", "sentimnt"], ("sentimnt", "sentiment")),
        (["--items", "nowhere.jsonl"], ("nowhere.jsonl", ".jsonl")),
        (["--items", "untold.jsonl"], ("no field for the text", "text")),
        (["--items", "blank.jsonl"], ("give every item a text",)),
        (["--replay", "items.jsonl"], ("would be asked", "give one or the other")),
        (["--max-calls", "5", "--price", "cheap"], ("'cheap' is not a price", "0.25,2")),
    ],
)
def test_an_option_that_cannot_be_is_one_line_with_the_allowed_values(
    asking: list[str], workplace: Path, options: list[str], said: tuple[str, ...]
) -> None:
    (workplace / "untold.jsonl").write_text('{"number": 3}\n', encoding="utf-8")
    (workplace / "blank.jsonl").write_text('{"text": "a film"}\n{"text": "  "}\n', encoding="utf-8")
    refused = CliRunner().invoke(app, [*asking, *options])
    assert isinstance(refused.exception, ExplicateError), refused.output
    message = str(refused.exception)
    assert "\n" not in message
    for text in said:
        assert text in message
    assert not (workplace / "out").exists()


def test_neither_a_model_nor_a_recording_is_one_line(workplace: Path) -> None:
    refused = CliRunner().invoke(app, ["audit", "--out", "out"])
    assert isinstance(refused.exception, ExplicateError)
    assert "name a model, such as" in str(refused.exception)


def test_more_items_than_there_are_is_all_of_them(call: Callable[..., Result], asking: list[str]) -> None:
    assert json.loads(call(*asking, "--n", "100", "--json").stdout)["n_items"] == 6
    assert json.loads(call(*asking[:-1], "few", "--n", "2", "--json").stdout)["n_items"] == 2


# ---- what the page is drawn from


def item(text: str, said: list[float], found: list[float], **changes: Any) -> AuditItem:
    """A line of items.jsonl."""
    values: dict[str, Any] = {"elicitation": "attribution", "order": "predict-first", "gold": None, "metrics": {}}
    return AuditItem(
        text=text,
        units=text.split(),
        answer=Answered(label="good", confidence=0.9),
        attributions={"self": said},
        effects=found,
        **values | changes,
    )


def test_items_that_disagree_most_come_first_by_the_first_way_of_asking() -> None:
    lines = [
        item("a b", [1, 0], [0.5, 0.0]),
        item("a b", [1, 0], [0.1, 0.2], operator="mask"),
        item("c d", [1, 0], [0.0, 0.5]),
        item("c d", [1, 0], [0.0, 0.5], operator="mask"),
        item("a b", [0, 1], [0.5, 0.0], elicitation="top-k"),
    ]
    first, second = audited_items(lines, ["attribution, predict-first", "top-k, predict-first"])
    assert [word["text"] for word in first["first"]["lines"][0]["words"]] == ["c", "d"]
    # c: 1 apart by either operator; a: 0 by the one, (1/2 + 1) / 2 by the other.
    assert first["first"]["disagreement"] == pytest.approx(1)
    assert second["first"]["disagreement"] == pytest.approx((0 + 0.75) / 2)
    assert [line["name"] for line in second["first"]["lines"]] == ["said", "delete", "mask"]
    assert [other["name"] for other in second["others"]] == ["top-k, predict-first"]
    assert first["others"] == []


def test_words_too_quiet_to_see_are_plain_text_and_none_is_lost() -> None:
    runs = shaded(["a", "b", "c", f"d{TURNED}"], [0.0, 0.001, -2.0, 1.0])
    assert [run["text"] for run in runs] == ["a b", "c", "d⟨U+202E⟩⟨U+2066⟩"]
    assert [(run.get("for"), run.get("against")) for run in runs] == [(None, None), ("0.00", "1.00"), ("0.50", "0.00")]
    assert shaded(["a"], [0.0]) == [{"text": "a"}]
    assert visible("a\x1b\n\u200fb") == "a␛↵⟨U+200F⟩b"


@pytest.mark.parametrize("values", [[], [0.0], [0.123, 0.4], [-0.31, 0.17], [-7.0], [3.0, 12.5], [1e-6], [0.1, 0.2, 0.5]])
def test_an_axis_holds_its_values_between_round_numbers(values: list[float]) -> None:
    axis = Axis.of(values)
    assert axis.low <= min([0.0, *values])
    assert axis.high >= max([0.0, *values])
    assert axis.low <= 0 <= axis.high
    places = [axis.place(value) for value in sorted([0.0, *values])]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    texts = [str(tick["text"]) for tick in axis.ticks]
    assert 2 <= len(texts) <= 8
    assert "0" in texts
    assert [axis.place(float(text)) for text in texts] == pytest.approx([tick["at"] for tick in axis.ticks])
