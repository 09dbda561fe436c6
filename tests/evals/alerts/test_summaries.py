"""Markdown, JUnit XML and the file of events: read back by others, and nothing that a model is called becomes markup."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from evals.alerts import junit, markdown
from evals.alerts.file import append_events
from evals.alerts.state import Event
from evals.comparison.results import Change, Comparison, ProvenanceChange


@pytest.fixture
def comparison(make_change: Callable[..., Change], make_comparison: Callable[..., Comparison], hostile: str) -> Comparison:
    """With every verdict once, two that are unchanged, and hostile names everywhere."""
    changes = [make_change(verdict, name=verdict) for verdict in ("unchanged", "regressed", "failed", "improved", "not comparable")]
    changes.append(make_change("recovered", name="recovered"))
    changes.append(make_change("unchanged", name="other", of=hostile))
    changes.append(make_change("regressed", task=hostile, name="accuracy", of=hostile))
    provenance = [ProvenanceChange(task="reviews", what="model", before="small", after=hostile)]
    return make_comparison(*changes, missing=[(hostile, "lift", "")], provenance=provenance, suite=hostile, run=hostile)


def test_junit_counts_every_metric_once(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.xml"
    junit.write_junit(path, comparison)
    root = ET.parse(path).getroot()
    assert root.tag == "testsuite"
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9",
        "failures": "2",
        "errors": "2",
        "skipped": "1",
    }
    for tag, figure in (("testcase", "tests"), ("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(root.findall(f".//{tag}")) == int(root.get(figure) or -1), tag
    failed = {case.get("name"): case.find("failure") for case in root.iter("testcase") if case.find("failure") is not None}
    said = failed["regressed (self attribution)"]
    assert said is not None
    assert said.get("message") == "0.5 [0.4, 0.6] -> 0.2 [0.1, 0.3], difference -0.3 [-0.4, -0.2] over 50 shared items, q = 0.004"
    changed = [item.get("value") for item in root.iter("property") if item.get("name") == "changed"]
    assert len(changed) == 1
    assert changed[0] is not None
    assert changed[0].startswith("reviews: model: small -> </td><script>alert(1)</script>")


def test_a_row_of_markdown_for_every_change(comparison: Comparison) -> None:
    lines = markdown.render(comparison, []).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [
        "| regressed",
        "| regressed",
        "| failed",
        "| improved",
        "| recovered",
        "| not comparable",
    ]
    # A bar that is not escaped would be one more cell.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert "2 metrics unchanged or not watched." in lines
    assert lines[0].endswith(": 2 regressed")


def test_nothing_in_markdown_is_markup_of_a_model(comparison: Comparison, make_event: Callable[..., Event], hostile: str) -> None:
    page = markdown.render(comparison, [make_event(of=hostile), make_event(state="missing", change=None, missing=[hostile])])
    assert "alert" in page
    assert "<script" not in page
    assert "@all" not in page
    assert "https://" not in page
    assert not re.search(r"(?<!\\)\*\*|(?<!\\)`|(?<!\\)\]\(", page)
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        page.splitlines()[0],
        "## News",
        "## Changes",
        "## Missing",
        "## What else changed",
    ]


def test_escaped_text_reads_as_it_was_written() -> None:
    plain = 'a_b*c [d](e) `f` <g> & "h" | #1 i\\j ~k~ 1. - +'
    assert unescape(re.sub(r"\\([\\`*_{}\[\]()#+\-.!|~$^=:])", r"\1", markdown.text(plain))) == plain


def test_markdown_is_written_whatever_it_holds(comparison: Comparison, tmp_path: Path) -> None:
    markdown.write_markdown(tmp_path / "new" / "report.md", comparison, [])
    assert (tmp_path / "new" / "report.md").read_text("utf-8").startswith("# ")


def test_events_are_appended_one_a_line(make_event: Callable[..., Event], hostile: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    append_events(path, [make_event(), make_event("recovered", of=hostile)])
    with path.open("a") as file:
        file.write('{"cut short')
    append_events(path, [make_event("failed")])
    lines = path.read_text("ascii").splitlines()
    assert len(lines) == 4
    rows = [json.loads(lines[number]) for number in (0, 1, 3)]
    assert [row["state"] for row in rows] == ["regressed", "recovered", "failed"]
    assert rows[0]["text"].startswith("reviews: comprehensiveness (self attribution) regressed: 0.5 [0.4, 0.6] -> 0.2")
    assert Event.model_validate(rows[2]) == make_event("failed")
