"""A comparison as Markdown, for a pull request or a chat; what models and files are called is text there, never markup."""

import re
from collections.abc import Sequence
from pathlib import Path

from agents.untrusted import one_line
from analyzers.whole_files import replaced
from evals.alerts.state import Event
from evals.alerts.wording import metric_name, provenance, sentence, shown
from evals.comparison.results import Change, Comparison

_ORDER = ("regressed", "failed", "improved", "recovered", "not comparable")
"""Verdicts that have a row, in this order; the others are counted."""
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+\-.!|~$^=:]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "@": "@\u2060"}
"""The last keeps a name from being taken for that of a person to call."""


def write_markdown(path: Path, comparison: Comparison, events: Sequence[Event]) -> None:
    """Write `render` of a comparison, whole or not at all, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_text(render(comparison, events), encoding="utf-8", errors="replace")


def render(comparison: Comparison, events: Sequence[Event]) -> str:
    """The whole text."""
    shown_rows = sorted(
        (change for change in comparison.changes if change.verdict in _ORDER), key=lambda change: _ORDER.index(change.verdict)
    )
    count = len(comparison.regressed)
    lines = [f"# {text(comparison.suite or Path(comparison.run).name)}: {f'{count} regressed' if count else 'nothing regressed'}", ""]
    lines += [f"{text(comparison.run)} against {text(comparison.baseline)}, {len(comparison.changes)} metrics compared.", ""]
    if events:
        lines += ["## News", "", *(f"- {text(sentence(event))}" for event in events), ""]
    if shown_rows:
        lines += ["## Changes", "", "| verdict | metric | before | after | difference | q |", "|---|---|---|---|---|---|"]
        lines += [_row(change) for change in shown_rows]
        lines += [""]
    lines += [f"{len(comparison.changes) - len(shown_rows)} metrics unchanged or not watched.", ""]
    for title, keys in (("Missing", comparison.missing), ("New", comparison.new)):
        if keys:
            lines += [f"## {title}", "", *(f"- {text(metric_name(key.task, key.name, key.of))}" for key in keys), ""]
    if comparison.provenance:
        lines += ["## What else changed", "", *(f"- {text(provenance(change))}" for change in comparison.provenance), ""]
    return "\n".join(lines)


def text(value: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    escaped = (_ENTITIES.get(character) or _MARKUP.sub(r"\\\g<0>", character) for character in one_line(value))
    return "".join(escaped)


def _row(change: Change) -> str:
    q = "" if change.q is None else f"{change.q:.2g}"
    cells = (change.verdict, metric_name(change.task, change.name, change.of), shown(change.before), shown(change.after))
    return "| " + " | ".join(text(cell) for cell in (*cells, shown(change.difference, sign=True), q)) + " |"
