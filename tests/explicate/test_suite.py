"""`explicate suite` as a user meets it: a first run, a baseline, a worse model, and what is told of it."""

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evals.database import open_database
from explicate import cli

ITEMS = 40


@dataclass(frozen=True)
class Outcome:
    """What a user saw."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def call(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """call("suite", "run", ...): the program as it is installed, in a wide terminal."""
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments: str) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["explicate", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        found = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), found.out, found.err)

    return invoke


@pytest.fixture
def suite(workplace: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of one measurement of stated confidence, of a model that is right as often as `server.right` says (in percent)."""
    rows = [{"text": f"film number {number} was seen", "gold": ("positive", "negative")[number % 2]} for number in range(ITEMS)]
    (workplace / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    gold = {row["text"]: row["gold"] for row in rows}
    server.right = 90

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"].rpartition("Text: ")[2].strip()
        if text not in gold:
            return dict(server.chat("Answer: positive\nConfidence: 60%"))
        drawn = zlib.crc32(text.encode()) % 100
        label = gold[text] if drawn < server.right else {"positive": "negative", "negative": "positive"}[gold[text]]
        return dict(server.chat(f"Answer: {label}\nConfidence: {60 + drawn % 40}%"))

    server.answer = answer
    monkeypatch.setenv("OPENAI_API_KEY", "none-of-this")
    path = workplace / "suite.toml"
    path.write_text(
        f"""name = "watched"
[alerts]
file = "alerts.jsonl"
markdown = "alerts.md"
junit = "alerts.xml"
[[task]]
name = "sure"
kind = "confidence"
model = "openai:m"
base_url = "{server.url}"
items = "items.jsonl"
prompting = ["vanilla"]
sampling = ["none"]
deletion = false
""",
        encoding="utf-8",
    )
    return path


def test_init_writes_a_suite_and_replaces_none(call: Callable[..., Any], workplace: Path) -> None:
    assert call("suite", "init", "mine.toml").code == 0
    assert 'name = "nightly"' in (workplace / "mine.toml").read_text(encoding="utf-8")
    (workplace / "mine.toml").write_text("mine", encoding="utf-8")
    again = call("suite", "init", "mine.toml")
    assert (again.code, (workplace / "mine.toml").read_text(encoding="utf-8")) == (2, "mine")
    assert "--force" in again.stderr
    assert json.loads(call("suite", "init", "mine.toml", "--force", "--json").stdout) == {"suite": "mine.toml"}


def test_a_worse_model_is_told_once_and_ends_with_exit_code_3(
    call: Callable[..., Any], suite: Path, server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(out: str) -> Any:
        return call("suite", "run", str(suite), "--out", out, "--json")

    first = run("one")
    assert first.code == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["tasks"][0]["status"] == "done"
    assert (workplace / "one" / found["tasks"][0]["report"]).exists()
    assert "accuracy" in (workplace / "one" / "report.html").read_text(encoding="utf-8")
    assert call("baseline", "set", "one").code == 0

    same = run("two")
    assert same.code == 0, same.stderr
    assert json.loads(same.stdout)["recorded"]["regressed"] == []

    # Another model under the same name: none of its replies is known yet.
    server.right = 20
    monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / "store" / "others" / "replies.sqlite"))
    worse = run("three")
    assert worse.code == 3, worse.stderr
    recorded = json.loads(worse.stdout)["recorded"]
    assert "accuracy" in {change["name"] for change in recorded["regressed"]}
    told = [json.loads(line) for line in (workplace / "alerts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {event["state"] for event in told} == {"regressed"}

    # Still worse: nothing new.
    assert run("four").code == 3
    assert len((workplace / "alerts.jsonl").read_text(encoding="utf-8").splitlines()) == len(told)

    monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / "store" / "kept" / "replies.sqlite"))
    assert run("five").code == 0
    after = [json.loads(line) for line in (workplace / "alerts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {event["state"] for event in after[len(told) :]} == {"recovered"}
    assert len(after) == 2 * len(told)
    with open_database() as database:
        assert {row.name for row in database.runs(suite="watched", kind="suite").rows} == {"watched"}


def test_the_table_says_how_tasks_ended_and_what_to_do_next(call: Callable[..., Any], suite: Path, workplace: Path) -> None:
    text = suite.read_text(encoding="utf-8")
    broken = text[text.index("[[task]]") :].replace('"sure"', '"broken"').replace('"openai:m"', '"nobody:m"')
    suite.write_text(text + broken, encoding="utf-8")
    shown = call("suite", "run", str(suite), "--out", "runs/x")
    assert shown.code == 2
    for said in ("sure", "accuracy", "1 of 2 tasks done", "broken (confidence): failed", "explicate baseline set", "runs/x/report.html"):
        assert said in shown.stdout.replace("\n", " "), said


def test_a_run_that_did_not_end_is_gone_on_with(call: Callable[..., Any], suite: Path, workplace: Path) -> None:
    assert call("suite", "run", str(suite)).code == 0
    (folder,) = (workplace / "runs").iterdir()
    (folder / "results.json").unlink()
    again = call("suite", "run", str(suite))
    assert again.code == 0
    assert "done before" in again.stderr
    assert list((workplace / "runs").iterdir()) == [folder]


def test_nothing_is_entered_where_nothing_is_to_be(call: Callable[..., Any], suite: Path, workplace: Path) -> None:
    assert call("suite", "run", str(suite), "--no-record").code == 0
    assert not (workplace / "store" / "kept" / "results.sqlite").exists()


def test_a_baseline_that_is_gone_is_said_beside_the_table(call: Callable[..., Any], suite: Path, workplace: Path) -> None:
    assert call("suite", "run", str(suite), "--out", "one").code == 0
    assert call("baseline", "set", "one").code == 0
    shutil.rmtree(workplace / "one")
    shown = call("suite", "run", str(suite), "--out", "two")
    assert shown.code == 0
    assert "not held against the baseline" in shown.stdout
    assert "accuracy" in shown.stdout


def test_the_gate_goes_by_the_thresholds_of_the_run(
    call: Callable[..., Any], suite: Path, server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("suite", "run", str(suite), "--out", "one", "--no-record").code == 0
    server.right = 20
    monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / "store" / "others" / "replies.sqlite"))
    text = suite.read_text(encoding="utf-8")
    assert call("suite", "run", str(suite), "--out", "two", "--no-record").code == 0
    assert call("compare", "two", "--baseline", "one").code == 3
    suite.write_text(text + '\n[thresholds."*"]\nwatch = false\n', encoding="utf-8")
    assert call("suite", "run", str(suite), "--out", "three", "--no-record").code == 0
    assert call("compare", "three", "--baseline", "one").code == 0


def test_figures_that_are_void_now_close_the_gate(
    call: Callable[..., Any], suite: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("suite", "run", str(suite), "--out", "one").code == 0
    assert call("baseline", "set", "one").code == 0
    server.answer = lambda body: server.chat("I would rather not say.")
    monkeypatch.setenv("EXPLICATE_REPLIES", str(Path("store/others/replies.sqlite").absolute()))
    assert call("suite", "run", str(suite), "--out", "two").code == 3
    assert call("compare", "two").code == 3
