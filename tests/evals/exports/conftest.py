"""Run folders of every kind, as the commands leave them, with texts that would do harm where they are taken for more than text."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from evals.audit.results import Answered, AuditItem, AuditResults, AuditRow, Metric, Replies
from evals.confidence.reliability import Reliability
from evals.confidence.results import ConfidenceItem, ConfidenceResults, ConfidenceRow, ItemAnswer, ItemGuess, ItemReplies, ItemReply
from evals.results import Calls, Failure, LeakAudit, Lift, RunResults, SiteResult, Tokens, Value

FORMULA = '=HYPERLINK("http://evil.example","x")'
MARKUP = "<script>alert('m')</script>, \"quoted\"\nand a second line \u00e4 \U0001f600"
GONE = Failure(stage="replies", reason="+no reply could be read")
SPENT: dict[str, Any] = {"calls": Calls(made=3, cached=1), "tokens": Tokens(prompt=70, completion=8), "usd": 0.0}


def value(number: float, n: int = 20) -> Value:
    return Value(value=number, low=number - 0.1, high=number + 0.1, n=n)


def write(folder: Path, command: str, config: dict[str, Any], results: BaseModel, **lines: Iterable[BaseModel]) -> Path:
    folder.mkdir(parents=True)
    manifest = {"format": 1, "command": command, "config": config, "version": "0.1.0", "code": "c0de", "prompts": {"ask": "abc"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "results.json").write_text(results.model_dump_json(), encoding="utf-8")
    (folder / "report.html").write_text(f"<!doctype html><title>{command}</title>")
    for name, rows in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    return folder


def label_folder(folder: Path) -> Path:
    good = SiteResult(
        site="L0.mlp.1",
        polarity="-",
        explanation=FORMULA,
        explainer="template",
        simulator="lexical",
        scores={"pearson": value(0.4, 384)},
        by_stratum={"top": {"pearson": value(0.6, 96)}},
        controls={"null": {"pearson": GONE}},
        lift=Lift(value=-0.2, low=-0.3, high=-0.1, n=384, over="lexical", score="pearson"),
    )
    bad = good.model_copy(
        update={"site": "L1.mlp.2", "polarity": "+", "explanation": None, "scores": {"pearson": GONE}, "by_stratum": {}, "lift": GONE}
    )
    results = RunResults(
        sites=[good, bad],
        n_scored=1,
        n_failed=1,
        leak_audit=LeakAudit(passed=True, checked=1, largest_overlap=0.0),
        instrument=None,
        means={"pearson": value(0.4, 1), "lift": GONE},
        manifest={},
        **SPENT,
    )
    write(folder, "label", {"subject": "tiny", "corpus": "c.jsonl", "sites": ["L0.mlp.1-"]}, results)
    (folder / "explanations.jsonl").write_text("")
    return folder


def audit_folder(folder: Path) -> Path:
    way = {"elicitation": "attribution", "order": "predict-first", "operator": "delete"}
    rows = [
        AuditRow(
            **way,
            source=source,
            n=2,
            n_failed=1,
            n_constant=0,
            metrics={
                "comprehensiveness": Metric(value=0.2, low=0.1, high=0.3, n=2, random=0.1, best=0.5, normalised=GONE, p=0.5),
                "sufficiency": GONE,
            },
        )
        for source in ("self", "occlusion")
    ]
    replies = Replies(
        elicitation="attribution", order="predict-first", n=3, parsed=2, failed=[], match={}, accuracy=value(0.5), confidence=GONE
    )
    results = AuditResults(
        rows=rows,
        paired_differences=[],
        agreement={},
        n_items=3,
        verdict="undecided",
        verdict_reason="few items",
        replies=[replies],
        manifest={},
        **SPENT,
    )
    items = [
        AuditItem(
            **way,
            text=text,
            units=["a"],
            gold="positive",
            answer=Answered(label="positive", confidence=0.75),
            attributions={"self": [1.0]},
            effects=[0.1],
            metrics={"self": {"comprehensiveness": 0.25, "sufficiency": GONE}},
            reply="@positive",
        )
        for text in (FORMULA, MARKUP)
    ]
    items.append(
        items[0].model_copy(update={"text": "third", "answer": GONE, "metrics": {}, "attributions": {}, "effects": GONE, "reply": None})
    )
    return write(folder, "audit", {"model": "openai:m", "task": "sentiment", "n": 3}, results, items=items)


def confidence_folder(folder: Path) -> Path:
    way = {"prompting": "vanilla", "sampling": "none", "aggregate": "stated"}
    row = ConfidenceRow(
        **way,
        n=1,
        n_failed=1,
        n_replies=2,
        n_replies_failed=1,
        measures={"accuracy": value(0.5), "ece": value(0.2), "auroc": GONE},
        chance={},
        reliability=Reliability(equal_width=[], equal_mass=[], histogram=[]),
    )
    results = ConfidenceResults(rows=[row], deletion=None, replies=[], n_items=2, n_without_gold=0, manifest={}, **SPENT)
    said = ItemReply(instruction="?", hint="", guesses=[ItemGuess(answer="positive", confidence=0.9)], written=["-positive 90%"])
    items = [
        ConfidenceItem(
            number=1,
            text=MARKUP,
            gold="positive",
            replies=[ItemReplies(prompting="vanilla", sampling="none", replies=[said])],
            answers=[ItemAnswer(**way, answer="positive", confidence=0.9, correct=True)],
            deletion=None,
        ),
        ConfidenceItem(
            number=2,
            text=FORMULA,
            gold="negative",
            replies=[ItemReplies(prompting="vanilla", sampling="none", replies=GONE)],
            answers=[ItemAnswer(**way, failed=GONE)],
            deletion=None,
        ),
    ]
    return write(folder, "confidence", {"model": "local:tiny", "task": "sentiment", "n": 2}, results, items=items)


def suite_folder(folder: Path) -> Path:
    from evals.suites.results import SuiteResults, TaskOutcome

    label_folder(folder / "tasks" / "neurons")
    audit_folder(folder / "tasks" / "reviews")
    outcomes = [
        TaskOutcome(name="neurons", kind="label", status="done", folder="tasks/neurons"),
        TaskOutcome(name="reviews", kind="audit", status="done", folder="tasks/reviews"),
        TaskOutcome(name="lost", kind="audit", status="failed", failure=GONE, folder="tasks/lost"),
    ]
    results = SuiteResults(
        name="nightly", tasks=outcomes, started="2026-01-01T00:00:00+00:00", finished="2026-01-01T01:00:00+00:00", **SPENT
    )
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "command": "suite", "config": {"name": "nightly", "tasks": []}}))
    (folder / "results.json").write_text(results.model_dump_json())
    (folder / "report.html").write_text("<!doctype html><title>suite</title>")
    return folder


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "label": label_folder,
    "audit": audit_folder,
    "confidence": confidence_folder,
    "suite": suite_folder,
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[str], Path]:
    """make_run("audit") is the folder of a run of that kind; label, audit, confidence or suite."""
    return lambda kind: FOLDERS[kind](tmp_path / "runs" / kind)


@pytest.fixture(params=list(FOLDERS))
def run(request: pytest.FixtureRequest, make_run: Callable[[str], Path]) -> Path:
    """A run folder of each kind."""
    return make_run(request.param)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
