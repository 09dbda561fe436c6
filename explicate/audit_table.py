"""What `explicate audit` prints: faithfulness of every way of asking beside random rankings and the best one found, and what to mind."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from explicate.attribution_table import LITTLE_MASS
from explicate.shaded_words import visible

if TYPE_CHECKING:
    from rich.table import Table

    from evals.audit.results import AuditResults, AuditRow, CheckResult, Drift, Missing, Replies
    from evals.results import Failure, Value

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
LONG = 160
"""Of a reason that a model's reply may be quoted in."""


class Asked(Protocol):
    """What has a way of asking."""

    elicitation: str
    order: str
    persona: str


def way(of: Asked) -> str:
    """The way of asking: form of the explanation, order, and in whose name."""
    return ", ".join(part for part in (of.elicitation, of.order, of.persona) if part)


def check_name(check: "CheckResult") -> str:
    """The check, with its order and persona where it has them."""
    return ", ".join(part for part in (check.name, check.order, check.persona) if part)


def question(results: "AuditResults") -> str:
    """What the audit asks."""
    config, model = results.manifest.get("config", {}), results.manifest.get("model")
    name = model.get("name") if isinstance(model, dict) else model or config.get("model")
    return f"Does {visible(str(name or 'the recorded model'))} explain itself faithfully?"


def show_audit(results: "AuditResults", page: Path, *, paper_compat: bool) -> None:
    """The table of an audit, what to mind, what it took, and where to look."""
    from rich.console import Console

    console = Console(emoji=False)
    if results.selftest is not None and not results.selftest.passed:
        console.print(
            f"[yellow]The audit did not pass its own test, so it decides nothing: {_safe('; '.join(results.selftest.reasons))}.[/]"
        )
    one = len({(way(row), row.operator) for row in results.rows}) < 2
    console.print(_by_metric(results, paper_compat=paper_compat) if one else _by_way(results, wide=console.width >= WIDE))
    lines = [
        *(_differences(results) if one else ()),
        *_minded(results),
        *(["The published formulas are of two labels; these answers have more."] if _no_formulas(results, asked=paper_compat) else ()),
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
    for line in (*_floor(results.drift), *_cost(results)):
        console.print(line)
    console.print(f"Report: {_safe(str(page))}", soft_wrap=True)


def commonest(missing: "Sequence[Missing]") -> str:
    """The reason that most items are left out for, with its number; empty where none is."""
    first = max(missing, key=lambda each: each.n, default=None)
    return "" if first is None else f"most often ({first.n}): {first.stage}, {visible(first.reason[:LONG])}"


def floor_sentence(found: "Sequence[Drift]") -> str:
    """How far changes that should not matter move f, and how many answers they change; empty where none was made."""
    from evals.results import Value

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


def plan_sentence(plan: "dict[str, int]") -> str:
    """How many texts were wanted and how many evaluated; empty where nothing was planned."""
    asked, evaluated = plan.get("texts_asked", 0), plan.get("texts_evaluated", 0)
    return f"{asked:,} texts asked by all methods, {evaluated:,} evaluated, {1 - evaluated / asked:.0%} saved." if evaluated else ""


def cost_sentence(results: "AuditResults") -> str:
    """Calls, tokens and money; empty where no model was asked."""
    if results.calls is None or results.tokens is None:
        return ""
    return (
        f"{results.n_items} items; {results.calls.made:,} calls made, {results.calls.cached:,} from the cache, "
        f"{results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
        + (f", not counting {visible(', '.join(results.unpriced))}, whose price is not known." if results.unpriced else ".")
    )


def _safe(text: str) -> str:
    """Text that steers neither a table nor the terminal."""
    from explicate.running import plain

    return plain(text)


def _table(title: str, columns: "Iterable[str]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=_safe(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _by_metric(results: "AuditResults", *, paper_compat: bool) -> "Table":
    """One way of asking under one operator: a line for every metric and source."""
    from evals.audit.results import Published

    table = _table(
        question(results), ("metric", "by", "mean, interval", "items", "random", "best", "q", *(["paper"] if paper_compat else []))
    )
    for name, title in SHORT.items():
        for number, row in enumerate(results.rows):
            cells = [title if not number else "", _safe(row.source), *_metric(row, name)]
            if paper_compat:
                published = row.paper_compat.get(name)
                cells.append(_figure(published.value) if isinstance(published, Published) else "[dim]none[/]")
            table.add_row(*cells)
        table.add_section()
    return table


def _metric(row: "AuditRow", name: str) -> list[str]:
    from evals.audit.results import Metric

    value = row.metrics.get(name)
    if not isinstance(value, Metric):
        return ["[red]failed[/]", "", "", "", ""]
    return [_interval(value), str(value.n), _figure(value.random), _figure(value.best), _q(value.q)]


def _by_way(results: "AuditResults", *, wide: bool) -> "Table":
    """Comprehensiveness of the model's own explanations: a row for every way of asking and operator, the way beside its first rows."""
    from evals.audit.results import Metric
    from evals.audit.verdict import METRIC

    title = f"{question(results)} {METRIC.capitalize()} ↑"
    table = _table(title, ("asked", "by", "items", "self", "random", "occlu-\nsion", "best", "normalised", "q"))
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
            by = _safe(row.operator) + (f"{gap}[red]void[/]" if row.void else "")
            table.add_row("\n".join(map(_safe, parts[lines * number : last])), by, f"{row.n}{failed}", *cells)
        table.add_section()
    return table


def _replies(replies: "Sequence[Replies]") -> "Table":
    table = _table("Replies, and how words that explanations name match the text", ())
    for column in ("asked", "read", "exactly", "nearly", "invented", "not\nnamed", "right", "sure"):
        table.add_column(column, no_wrap=column != "asked")
    for each in replies:
        exact, nearly = each.match.get("exact", 0), sum(each.match.get(name, 0) for name in ("normalised", "merged", "split"))
        invented, unmatched = each.match.get("invented", 0), each.match.get("unmatched", 0)
        counts = [f"{count:,}" for count in (exact, nearly, invented, unmatched)]
        table.add_row(_safe(way(each)), f"{each.parsed} of {each.n}", *counts, _share(each.accuracy), _share(each.confidence))
    return table


def _unread(replies: "Sequence[Replies]") -> list[str]:
    """How many replies could not be read, and why."""
    names: dict[str, list[str]] = {}
    for each in replies:
        if lost := each.n - each.parsed:
            names.setdefault(f"{lost} of {each.n} replies have no answer and explanation, {commonest(each.failed)}.", []).append(way(each))
    return [f"{_safe('; '.join(of))}: {_safe(why)}" for why, of in names.items()]


def _little_mass(replies: "Sequence[Replies]") -> list[str]:
    """Where the model was about to write something else than a label."""
    from evals.results import Value

    return [
        f"[yellow]{_safe(way(each))}: the model gives all labels together {each.label_mass.value:.1%} on average: it was about to write "
        "something else.[/]"
        for each in replies
        if isinstance(each.label_mass, Value) and each.label_mass.value < LITTLE_MASS
    ]


def _checks(checks: "Sequence[CheckResult]") -> "Table":
    """A line for every figure that has something beside it, and for the first one of a check that has nothing."""
    from evals.results import Value

    table = _table("Checks", ("check", "figure", "mean, interval", "chance", "q", "items"))
    for check in checks:
        known = [figure for figure, value in check.figures.items() if isinstance(value, Value)]
        shown = [figure for figure in known if check.p.get(figure) is not None] or known[:1]
        for number, figure in enumerate(shown):
            chance, q = check.chance.get(figure), check.q.get(figure, check.p.get(figure))
            value = check.figures[figure]
            cells = [_of(value, " "), "" if chance is None else _figure(chance), _q(q), str(value.n if isinstance(value, Value) else "")]
            table.add_row("" if number else _safe(check_name(check)), figure.replace("_", " "), *cells)
        if shown:
            table.add_section()
    return table


def _unchecked(checks: "Sequence[CheckResult]") -> list[str]:
    """How many items checks are not made of, and why."""
    names: dict[str, list[str]] = {}
    for check in checks:
        if check.n_failed:
            void = "void: " if check.void else ""
            why = f"{void}{check.n_failed} of {check.n + check.n_failed} items failed, {commonest(check.missing)}."
            names.setdefault(why, []).append(check_name(check))
    return [f"{_safe('; '.join(of))}: {_safe(why)}" for why, of in names.items()]


def _differences(results: "AuditResults") -> list[str]:
    """Comprehensiveness of the model's own explanations minus that of random rankings and of occlusion."""
    return [
        f"{SHORT[each.metric]} self minus {each.b}, paired over {each.n} items: "
        f"{each.value:+.3f} [{each.low:+.3f}, {each.high:+.3f}], q {'none' if each.q is None else f'{each.q:.3f}'}"
        for each in results.paired_differences
        if (each.metric, each.a) == ("comprehensiveness", "self") and each.b in ("random", "occlusion")
    ]


def _minded(results: "AuditResults") -> list[str]:
    """Explanations that are missing, say nothing, or are too few to be used; of a live audit, replies say why they are missing."""
    lines = []
    for row in results.rows:
        name = f"{_safe(row.source)}, {_safe(way(row))} under {_safe(row.operator)}"
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
        lines.append(f"[red]Void, not to be used:[/] {_safe(source)}, {_safe(named)}: more than a fifth of the items have no explanation.")
    return lines


def _verdicts(results: "AuditResults") -> list[str]:
    if len(results.verdicts) < 2:
        return [f"Verdict: {results.verdict} ({_safe(results.verdict_reason)})."]
    lines = [f"{_safe(way(each))}: [b]{each.verdict}[/], {_safe(each.reason)}." for each in results.verdicts]
    return [*lines, f"Verdict of all ways of asking: {results.verdict}."]


def _no_formulas(results: "AuditResults", *, asked: bool) -> bool:
    return asked and not any(row.paper_compat for row in results.rows)


def _floor(found: "Sequence[Drift]") -> list[str]:
    return [_safe(sentence)] if (sentence := floor_sentence(found)) else []


def _cost(results: "AuditResults") -> list[str]:
    return [_safe(sentence) for sentence in (plan_sentence(results.plan), cost_sentence(results)) if sentence]


def _interval(value: "Value", gap: str = " ") -> str:
    return f"{_figure(value.value)}{gap}[dim]{_figure(value.low)} to {_figure(value.high)}[/]"


def _of(value: "Value | Failure", gap: str) -> str:
    from evals.results import Failure

    return "[dim]none[/]" if isinstance(value, Failure) else _interval(value, gap)


def _share(value: "Value | Failure") -> str:
    from evals.results import Failure

    return "[dim]none[/]" if isinstance(value, Failure) else f"{value.value:.0%}"


def _q(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def _figure(value: "float | Failure") -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1) if isinstance(value, float) else "[dim]none[/]"
