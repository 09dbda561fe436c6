"""What `explicate audit` prints: faithfulness of every way of asking beside random rankings and the best one found, and what to mind."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evals.audit.results import AuditItem, AuditResults, AuditRow, CheckResult, Drift, Metric, Published, Replies
from evals.audit.verdict import METRIC
from evals.results import Failure, Value
from evals.run_folder import read_items
from explicate.attribution_table import LITTLE_MASS
from explicate.running import plain, short
from explicate.shaded_words import visible
from explicate.task_output import commonest, cost_sentence, new_table, told_once

if TYPE_CHECKING:
    from rich.table import Table

TITLES = {
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "df_mit": "decision flips, first word (DF-MIT) ↑",
    "df_frac": "share removed until it flips (DF-Frac) ↓",
    "deletion_rank": "rank correlation with deletions ↑",
    "aopc": "area over the perturbation curve (AOPC) ↑",
    "naopc": "AOPC between the worst and best order (NAOPC) ↑",
}
"""Metrics as a person reads them; the arrow says which way is more faithful."""
SHORT = {
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "df_mit": "DF-MIT ↑",
    "df_frac": "DF-Frac ↓",
    "deletion_rank": "deletion rank ↑",
}
WIDE = 100
"""Columns of a terminal in which an interval has a place beside its value."""
NAMED, START = 3, 60
"""Texts of items that are named, and how many characters of each."""


class Asked(Protocol):
    """What has a way of asking."""

    elicitation: str
    order: str
    persona: str


def way(of: Asked) -> str:
    """The way of asking: form of the explanation, order, and in whose name."""
    return ", ".join(part for part in (of.elicitation, of.order, of.persona) if part)


def check_name(check: CheckResult) -> str:
    """The check, with its order and persona where it has them."""
    return ", ".join(part for part in (check.name, check.order, check.persona) if part)


def question(results: AuditResults) -> str:
    """What the audit asks."""
    config, model = results.manifest.get("config", {}), results.manifest.get("model")
    name = model.get("name") if isinstance(model, dict) else model or config.get("model")
    return f"Does {visible(str(name or 'the recorded model'))} explain itself faithfully?"


def show_audit(results: AuditResults, page: Path, *, paper_compat: bool) -> None:
    """The table of an audit, what to mind, what it took, and where to look."""
    from rich.console import Console

    console = Console(emoji=False)
    if results.selftest is not None and not results.selftest.passed:
        console.print(
            f"[yellow]The audit did not pass its own test, so it decides nothing: {plain('; '.join(results.selftest.reasons))}.[/]"
        )
    one = len({(way(row), row.operator) for row in results.rows}) < 2
    console.print(_by_metric(results, paper_compat=paper_compat) if one else _by_way(results, wide=console.width >= WIDE))
    published = any(row.paper_compat for row in results.rows)
    lines = [
        *(_differences(results) if one else ()),
        *_minded(results),
        *(_lacking(results, read_items(page.parent, AuditItem)) if "replay" in results.manifest.get("config", {}) else ()),
        *(["The published formulas are of two labels; these answers have more."] if paper_compat and not published else ()),
        *_verdicts(results),
    ]
    for line in lines:
        console.print(line)
    if results.replies:
        console.print(_replies(results.replies))
        for line in (*_unread(results.replies), *_little_mass(results.replies)):
            console.print(line)
    if results.checks:
        table = _checks(results.checks)
        if table.row_count:
            console.print(table)
        for line in _unchecked(results.checks):
            console.print(line)
    for line in filter(None, (floor_sentence(results.drift), plan_sentence(results.plan), cost_sentence(results))):
        console.print(plain(line))
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def floor_sentence(found: Sequence[Drift]) -> str:
    """How far changes that should not matter move f, and how many answers they change; empty where none was made."""
    moved = [each.mean for each in found if isinstance(each.mean, Value)]
    if not moved:
        return ""
    most = max(moved, key=lambda value: value.value)
    flipped = max((each.flipped for each in found if each.flipped is not None), default=0.0)
    changes = " or ".join(dict.fromkeys(each.change for each in found))
    return (
        f"Drift floor: {changes}, which should not matter, moves f by up to {most.value:.3f} [{most.low:.3f}, {most.high:.3f}] on average "
        f"and flips up to {flipped:.0%} of the answers."
    )


def plan_sentence(plan: dict[str, int]) -> str:
    """How many texts were wanted and how many evaluated; empty where nothing was planned."""
    asked, evaluated = plan.get("texts_asked", 0), plan.get("texts_evaluated", 0)
    return f"{asked:,} texts asked by all methods, {evaluated:,} evaluated, {1 - evaluated / asked:.0%} saved." if evaluated else ""


def _by_metric(results: AuditResults, *, paper_compat: bool) -> "Table":
    """One way of asking under one operator: a line for every metric and source."""
    table = new_table(
        question(results), ("metric", "by", "mean, interval", "items", "random", "best", "q", *(["paper"] if paper_compat else []))
    )
    for name, title in SHORT.items():
        for number, row in enumerate(results.rows):
            cells = [title if not number else "", plain(row.source), *_metric(row, name)]
            if paper_compat:
                published = row.paper_compat.get(name)
                cells.append(_figure(published.value) if isinstance(published, Published) else "[dim]none[/]")
            table.add_row(*cells)
        table.add_section()
    return table


def _metric(row: AuditRow, name: str) -> list[str]:
    value = row.metrics.get(name)
    if not isinstance(value, Metric):
        return ["[red]failed[/]", "", "", "", ""]
    return [_interval(value), str(value.n), _figure(value.random), _figure(value.best), _q(value.q)]


def _by_way(results: AuditResults, *, wide: bool) -> "Table":
    """Comprehensiveness of the model's own explanations: a row for every way of asking and operator, the way beside its first rows."""
    title = f"{question(results)} {METRIC.capitalize()} ↑"
    table = new_table(title, ("asked", "by", "items", "self", "random", "occlu-\nsion", "best", "normalised", "q"))
    # On the same items: occlusion is known of items that the model did not explain, too.
    beside_occlusion = {
        (way(each), each.operator): each
        for each in results.paired_differences
        if (each.a, each.b, each.metric) == ("self", "occlusion", METRIC)
    }
    groups: dict[str, list[AuditRow]] = {}
    for row in results.rows:
        if row.source == "self":
            groups.setdefault(way(row), []).append(row)
    gap = " " if wide else "\n"
    for asked, rows in groups.items():
        parts = asked.split(", ")
        for number, row in enumerate(rows):
            # As many parts as the row has lines; whatever is left, beside the last one.
            lines = 1 if wide else 2
            last = len(parts) if number == len(rows) - 1 else lines * (number + 1)
            value, difference = row.metrics.get(METRIC), beside_occlusion.get((asked, row.operator))
            failed = f"{gap}[red]({row.n_failed})[/]" if row.n_failed else ""
            cells = ["[red]failed[/]", "", "", "", "", ""]
            if isinstance(value, Metric):
                beside = "[dim]none[/]" if difference is None else _figure(value.value - difference.value)
                cells = [_interval(value, gap), _figure(value.random), beside, _figure(value.best), _of(value.normalised, gap), _q(value.q)]
            by = plain(row.operator) + (f"{gap}[red]void[/]" if row.void else "")
            table.add_row("\n".join(map(plain, parts[lines * number : last])), by, f"{row.n}{failed}", *cells)
        table.add_section()
    return table


def _replies(replies: Sequence[Replies]) -> "Table":
    table = new_table("Replies, and how words that explanations name match the text", ())
    for column in ("asked", "read", "exactly", "nearly", "invented", "not\nnamed", "right", "sure"):
        table.add_column(column, no_wrap=column != "asked")
    for each in replies:
        exact, nearly = each.match.get("exact", 0), sum(each.match.get(name, 0) for name in ("normalised", "merged", "split"))
        invented, unmatched = each.match.get("invented", 0), each.match.get("unmatched", 0)
        counts = [f"{count:,}" for count in (exact, nearly, invented, unmatched)]
        table.add_row(plain(way(each)), f"{each.parsed} of {each.n}", *counts, _share(each.accuracy), _share(each.confidence))
    return table


def _unread(replies: Sequence[Replies]) -> list[str]:
    """How many replies could not be read, and why."""
    return told_once(
        (way(each), f"{each.n - each.parsed} of {each.n} replies have no answer and explanation, {commonest(each.failed)}.")
        for each in replies
        if each.parsed < each.n
    )


def _little_mass(replies: Sequence[Replies]) -> list[str]:
    """Where the model was about to write something else than a label."""
    return [
        f"[yellow]{plain(way(each))}: the model gives all labels together {each.label_mass.value:.1%} on average: it was about to write "
        "something else.[/]"
        for each in replies
        if isinstance(each.label_mass, Value) and each.label_mass.value < LITTLE_MASS
    ]


def _checks(checks: Sequence[CheckResult]) -> "Table":
    """A line for every figure that has something beside it, and for the first one of a check that has nothing."""
    table = new_table("Checks", ("check", "figure", "mean, interval", "chance", "q", "items"))
    for check in checks:
        known = [figure for figure, value in check.figures.items() if isinstance(value, Value)]
        shown = [figure for figure in known if check.p.get(figure) is not None] or known[:1]
        for number, figure in enumerate(shown):
            chance, q = check.chance.get(figure), check.q.get(figure, check.p.get(figure))
            value = check.figures[figure]
            cells = [_of(value, " "), "" if chance is None else _figure(chance), _q(q), str(value.n if isinstance(value, Value) else "")]
            table.add_row("" if number else plain(check_name(check)), figure.replace("_", " "), *cells)
        if shown:
            table.add_section()
    return table


def _unchecked(checks: Sequence[CheckResult]) -> list[str]:
    """How many items checks are not made of, and why."""
    return told_once(
        (
            check_name(check),
            f"{'void: ' if check.void else ''}{check.n_failed} of {check.n + check.n_failed} items failed, {commonest(check.missing)}.",
        )
        for check in checks
        if check.n_failed
    )


def _differences(results: AuditResults) -> list[str]:
    """Comprehensiveness of the model's own explanations minus that of random rankings and of occlusion."""
    return [
        f"{SHORT[each.metric]} self minus {each.b}, paired over {each.n} items: "
        f"{each.value:+.3f} [{each.low:+.3f}, {each.high:+.3f}], q {'none' if each.q is None else f'{each.q:.3f}'}"
        for each in results.paired_differences
        if (each.metric, each.a) == ("comprehensiveness", "self") and each.b in ("random", "occlusion")
    ]


def _minded(results: AuditResults) -> list[str]:
    """Explanations that are missing, say nothing, or are too few to be used; of a live audit, replies say why they are missing."""
    lines = []
    for row in results.rows:
        name = f"{plain(row.source)}, {plain(way(row))} under {plain(row.operator)}"
        if row.n_failed and not results.replies and row.source != "random":
            lines.append(f"{name}: {row.n_failed} of {row.n + row.n_failed} items have no explanation.")
        if row.n_constant and row.source == "self":
            lines.append(f"{name}: {row.n_constant} explanations give all words one value, which is a random order.")
    for source in dict.fromkeys(row.source for row in results.rows if row.void):
        of = [row for row in results.rows if row.source == source]
        under: dict[str, list[str]] = {}
        for row in of:
            if row.void:
                under.setdefault(way(row), []).append(row.operator)
        void = sum(map(len, under.values()))
        named = "; ".join(f"{asked} under {', '.join(by)}" for asked, by in under.items())
        named = named if source == "self" else f"{void} of {len(of)} ways of asking and perturbing"
        lines.append(f"[red]Void, not to be used:[/] {plain(source)}, {plain(named)}: more than a fifth of the items have no explanation.")
    return lines


def _lacking(results: AuditResults, items: Sequence[AuditItem]) -> list[str]:
    """The items of a replay that have no figures, or not all, for want of recorded answers."""
    texts = [item.text for item in items if any(isinstance(value, Failure) and value.stage == "replay" for value in _values(item))]
    named = "; ".join(repr(text[:START]) for text in texts[:NAMED]) + (f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else "")
    why = f"{len(texts)} of {results.n_items} items lack figures because the recording lacks a text with words left out"
    return [plain(f"{why}: {named}.")] if texts else []


def _values(item: AuditItem) -> list[object]:
    """All that is known of an item, and what is not."""
    return [item.effects, *item.attributions.values(), *(value for of in item.metrics.values() for value in of.values())]


def _verdicts(results: AuditResults) -> list[str]:
    if len(results.verdicts) < 2:
        return [f"Verdict: {results.verdict} ({plain(results.verdict_reason)})."]
    lines = [f"{plain(way(each))}: [b]{each.verdict}[/], {plain(each.reason)}." for each in results.verdicts]
    return [*lines, f"Verdict of all ways of asking: {results.verdict}."]


def _interval(value: Value, gap: str = " ") -> str:
    return f"{_figure(value.value)}{gap}[dim]{_figure(value.low)} to {_figure(value.high)}[/]"


def _of(value: Value | Failure, gap: str) -> str:
    return "[dim]none[/]" if isinstance(value, Failure) else _interval(value, gap)


def _share(value: Value | Failure) -> str:
    return "[dim]none[/]" if isinstance(value, Failure) else f"{value.value:.0%}"


def _q(value: float | None) -> str:
    return "" if value is None else short(value, digits=3)


def _figure(value: float | Failure) -> str:
    return short(value) if isinstance(value, float) else "[dim]none[/]"
