"""What `explicate confidence` prints: a line for every way of asking, sampling and aggregating, what deletion did, and what failed."""

from collections import Counter
from pathlib import Path

from evals.confidence.results import ConfidenceResults, ConfidenceRow, Deletion
from evals.results import Failure, Value
from explicate.running import plain, short
from explicate.task_output import LONG, REASONS, commonest, cost_sentence, new_table, told_once

COLUMNS = {
    "accuracy": "accuracy",
    "mean_confidence": "confidence",
    "ece": "ECE ↓",
    "auroc": "AUROC ↑",
    "brier": "Brier ↓",
    "aurc": "AURC ↓",
}
"""Measures as a person reads them; the arrow says which way is better."""


def title(results: ConfidenceResults) -> str:
    """What the measurement asks."""
    return f"Does the confidence hold that {results.manifest['config']['model']} states?"


def show_confidence(results: ConfidenceResults, page: Path) -> None:
    """The table, what to mind, and where to look."""
    from rich.console import Console

    console = Console()
    table = new_table(title(results), ("asked\n[dim]sampled\naggregated", *COLUMNS.values()))
    for row in results.rows:
        how = f"{plain(row.prompting)}\n[dim]{plain(row.sampling)}\n{plain(row.aggregate)}[/]"
        table.add_row(how + ("\n[red]void[/]" if row.void else ""), *(_cell(row, name) for name in COLUMNS))
        table.add_section()
    console.print(table)
    console.print(
        "floor: the ECE of perfectly calibrated answers with these confidences, which is above 0 because items are few; "
        "an AUROC of .5 cannot tell right from wrong.",
        style="dim",
    )
    if results.deletion is not None:
        console.print(plain(deletion_sentence(results.deletion)))
    for line in _failures(results):
        console.print(line)
    if results.n_without_gold:
        console.print(f"{results.n_without_gold} items have no true answer and were not asked about.")
    console.print(plain(cost_sentence(results)))
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def name_of(row: ConfidenceRow) -> str:
    """How the figures of a row were had."""
    return row.prompting if row.sampling == "none" else f"{row.prompting}, {row.sampling}, {row.aggregate}"


def _failures(results: ConfidenceResults) -> list[str]:
    """Which rows are void, how much of each failed, and every reason once."""
    void = "; ".join(name_of(row) for row in results.rows if row.void)
    counts = told_once(
        (name_of(row), f"{row.n_failed} of {row.n + row.n_failed} items and {row.n_replies_failed} of {row.n_replies} replies failed.")
        for row in results.rows
        if row.n_failed or row.n_replies_failed
    )
    replies = Counter[tuple[str, str]]()
    for why in (why for each in results.replies for why in each.failed):
        replies[why.stage, why.reason] += why.n
    # What comes of failed replies gives their reasons again.
    others = Counter[tuple[str, str]]()
    for why in (why for row in results.rows for why in row.missing if not any(reason in why.reason for _, reason in replies)):
        others[why.stage, why.reason] += why.n
    return [
        *([f"[red]Void, not to be used:[/] {plain(void)}: more than a fifth of the items or replies failed."] if void else ()),
        *counts,
        *_reasons("Why replies failed", replies),
        *_reasons("Why items failed besides, over all of these rows", others),
    ]


def _reasons(title: str, counts: Counter[tuple[str, str]]) -> list[str]:
    """The commonest reasons, each once with its number, and how many more there are."""
    lines = [f"  {n}: {plain(f'{stage}, {reason[:LONG]}')}" for (stage, reason), n in counts.most_common(REASONS)]
    more = len(counts) - len(lines)
    return [*([f"{title}:"] if lines else ()), *lines, *([f"  and {more} reasons more, in results.json"] if more else ())]


def deletion_sentence(found: Deletion) -> str:
    """What deleting decisive words does to stated confidence."""
    figures = found.figures
    if not found.n:
        said = f"{found.n_failed} of {found.n_failed} items failed, {commonest(found.missing)}"
        return f"Confidence under deletion could not be measured: {said}."
    said = (
        f"Confidence under deletion, asked by {found.prompting}: what the model gives to its answer falls by {_figure(figures['fall'])} "
        f"without the words that it calls decisive, and by {_figure(figures['fall_random'])} without as many random words. Difference "
        f"{_figure(figures['difference'])}"
        + ("" if found.p is None else f", p {found.p:.3f}")
        + f", over {found.n} items ({found.n_failed} failed). Answers changed: {_figure(figures['changed'])} and "
        f"{_figure(figures['changed_random'])}."
    )
    return said + (" Void: more than a fifth of the items failed." if found.void else "")


def _figure(value: Value | Failure) -> str:
    return "none" if isinstance(value, Failure) else f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _cell(row: ConfidenceRow, name: str) -> str:
    """A measure with its interval; for ECE with its floor."""
    value, floor = row.measures[name], row.measures["ece_floor"]
    if not isinstance(value, Value):
        return "[red]failed"
    shown = f"{value.value:.2f}\n[dim]{short(value.low)}–{short(value.high)}"
    return f"{shown}\nfloor {short(floor.value)}" if name == "ece" and isinstance(floor, Value) else shown
