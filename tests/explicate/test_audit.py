"""`explicate audit` as a user gives it: the table, --json, and a page that hostile text cannot break."""

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.audit.results import AuditResults
from explicate.cli import app

HOSTILE = "</span><script>alert(1)</script>"
SENTENCES = [f"so {HOSTILE} good", "bad [red]film", "good film", "bad bad film"]


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


def test_the_table_names_the_metrics_and_what_they_stand_beside(call: Callable[..., Result], answers: Path) -> None:
    shown = " ".join(call("audit", "--replay", answers).stdout.split())
    metrics = ("comprehensiveness ↑", "sufficiency ↓", "DF-MIT ↑", "DF-Frac ↓", "deletion rank ↑")
    for expected in ("self", "occlusion", *metrics, "random", "best", "Verdict: undecided"):
        assert expected in shown
    assert "Report: runs/audit-answers/report.html" in shown
    assert "paper" not in shown
    assert "…" not in shown
    assert "paper" in call("audit", "--replay", answers, "--paper-compat").stdout


def test_json_is_what_results_json_holds_and_what_is_documented(call: Callable[..., Result], answers: Path) -> None:
    shown = json.loads(call("audit", "--replay", answers, "--out", "out", "--json").stdout)
    assert shown == json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    assert AuditResults.model_validate(shown).n_items == 4
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8").split("## An audit")[1].split("\n## ")[0]
    assert shown.keys() == {key for row in re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    for row in shown["rows"]:
        metrics = row["metrics"]
        keys = {*row, *metrics, *(key for metric in metrics.values() for key in metric)} - {"value", "low", "high", "failed"}
        assert all(f"`{key}`" in text for key in keys)
    page = Path("out/report.html")
    before = page.read_bytes()
    page.unlink()
    again = json.loads(call("report", "out", "--json").stdout)
    assert again.pop("report") == "out/report.html"
    assert again == shown
    assert page.read_bytes() == before
    assert "Does the recorded model explain itself" in call("report", "out").stdout


def test_the_page_loads_nothing_and_text_cannot_break_out_of_it(call: Callable[..., Result], answers: Path) -> None:
    call("audit", "--replay", answers, "--out", "out", "--paper-compat")
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;/span&gt;&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    # The word that decides is shaded for what was said and for what was found.
    assert len(re.findall(r'--f:1\.00;--g:0\.00" title="[^"]*">good<', page)) >= 2


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
    found["paired_differences"][0] |= {"a": "\x1b[2J[red]", "q": None}
    found["verdict_reason"] = "\x1b]0;title\x07"
    Path("out/results.json").write_text(json.dumps(found), encoding="utf-8")
    shown = call("report", "out").stdout
    assert "\x1b" not in shown
    assert "[red]" in shown
