"""The report of a confidence measurement: a reliability diagram for every way of asking, its measures, and what deleting words did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.confidence.measures import MEASURES
from evals.confidence.results import ConfidenceItem, ConfidenceResults, ConfidenceRow, Deletion
from evals.results import Failure, Value
from explicate.confidence_table import deletion_sentence, name_of, title
from explicate.forest import forest, mark
from explicate.pages import environment, trusted
from explicate.reliability_diagram import diagram
from explicate.task_output import commonest, visible_json, write_page

SHOWN = 20
"""Wrong answers that are listed; all are in items.jsonl."""
WHAT = {
    "accuracy": "accuracy",
    "mean_confidence": "mean confidence",
    "overconfidence": "overconfidence",
    "ece": "ECE, equal width",
    "ece_floor": "floor of it",
    "ece_equal_mass": "ECE, equal mass",
    "ece_equal_mass_floor": "floor of it",
    "brier": "Brier",
    "brier_reliability": "reliability",
    "brier_resolution": "resolution",
    "brier_uncertainty": "uncertainty",
    "auroc": "AUROC",
    "auprc_positive": "AUPRC of right answers",
    "auprc_negative": "AUPRC of wrong answers",
    "aurc": "AURC",
    "modal_share": "share at the modal value",
    "distinct_values": "distinct values",
}
DELETED = {
    "fall": ("without decisive words", "ours"),
    "fall_random": ("without random words", "told"),
    "difference": ("difference, paired", "free"),
    "changed": ("answer changed, decisive", "raw"),
    "changed_random": ("answer changed, random", "told"),
}


def write_confidence_page(run: Path) -> Path:
    """Draw report.html from results.json and items.jsonl of a run folder, and return its path."""
    return write_page(run, ConfidenceResults, ConfidenceItem, render)


def render(results: ConfidenceResults, items: Sequence[ConfidenceItem]) -> str:
    """The whole page."""
    page = environment().get_template("confidence.html")
    first = next((row for row in results.rows if not row.void), None)
    wrong = [] if first is None else _wrong(first, items)
    return str(
        page.render(
            css=trusted("style.css"),
            title=title(results),
            subtitle=f"{results.manifest['task']['name']}; {results.n_items} items with a known answer",
            rows=[row_of(row) for row in results.rows],
            names=[name_of(row) for row in results.rows],
            measures=[measure_of(name, results.rows) for name in MEASURES],
            deletion=None if results.deletion is None else _deletion(results.deletion),
            wrong=wrong[:SHOWN],
            n_wrong=len(wrong),
            wrong_of="" if first is None else name_of(first),
            replies=[
                {"name": f"{each.prompting}, {each.sampling}", "n": each.n, "parsed": each.parsed, "failed": each.failed}
                for each in results.replies
            ],
            manifest=visible_json(results.manifest),
        )
    )


def row_of(row: ConfidenceRow) -> dict[str, Any]:
    """What the page says of one row."""
    return {
        "name": name_of(row),
        "n": row.n,
        "void": row.void,
        "failures": _failures(row) if row.n_failed or row.n_replies_failed else "",
        "diagram": diagram(row.reliability),
        "figures": [
            {"name": WHAT[name], **_value(row.measures[name])} for name in ("accuracy", "mean_confidence", "ece", "ece_floor", "auroc")
        ],
    }


def _failures(row: ConfidenceRow) -> str:
    """How much of a row failed, and the commonest reason."""
    why = f", {commonest(row.missing)}" if row.missing else ""
    return f"{row.n_failed} of {row.n + row.n_failed} items and {row.n_replies_failed} of {row.n_replies} replies failed{why}."


def measure_of(name: str, rows: Sequence[ConfidenceRow]) -> dict[str, Any]:
    """A line of the table: the measure of every row, with what ignorance has."""
    cells = [{**_value(row.measures[name]), "chance": f"{row.chance[name]:.2f}" if name in row.chance else ""} for row in rows]
    return {"name": WHAT[name], "part": name.startswith("brier_") or name.endswith("_floor"), "cells": cells}


def _value(value: Value | Failure) -> dict[str, str]:
    if isinstance(value, Failure):
        return {"value": "none", "interval": "", "why": value.reason}
    whole = value.value == value.low == value.high and value.value >= 1 and float(value.value).is_integer()
    if whole:
        return {"value": f"{value.value:.0f}", "interval": "", "why": ""}
    return {"value": f"{round(value.value, 2) + 0.0:.2f}", "interval": f"[{value.low:.2f}, {value.high:.2f}]", "why": ""}


def _deletion(found: Deletion) -> dict[str, Any]:
    marks = [mark(name, found.figures[key], kind) for key, (name, kind) in DELETED.items()]
    return {
        "sentence": deletion_sentence(found),
        "chart": forest(marks),
        "draws": found.n_draws,
        "missing": found.missing,
    }


def _wrong(row: ConfidenceRow, items: Sequence[ConfidenceItem]) -> list[dict[str, str]]:
    """The wrong answers of a row, most confident first."""
    way = (row.prompting, row.sampling, row.aggregate)
    found = [
        (answer.confidence, item, answer.answer)
        for item in items
        for answer in item.answers
        if (answer.prompting, answer.sampling, answer.aggregate) == way and answer.correct is False and answer.confidence is not None
    ]
    found.sort(key=lambda each: (-each[0], each[1].number))
    return [{"confidence": f"{sure:.0%}", "answer": answer or "", "gold": item.gold, "text": item.text} for sure, item, answer in found]
