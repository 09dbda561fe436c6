"""What `explicate audit` prints: faithfulness by source of the explanations, beside random rankings and the best one found."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.audit.results import AuditResults, AuditRow
    from evals.results import Failure

TITLES = {
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "df_mit": "decision flips, first word (DF-MIT) ↑",
    "df_frac": "share removed until it flips (DF-Frac) ↓",
    "deletion_rank": "rank correlation with deletions ↑",
}
"""Metrics as a person reads them; the arrow says which way is more faithful."""
SHORT = {
    "comprehensiveness": "comprehensiveness ↑",
    "sufficiency": "sufficiency ↓",
    "df_mit": "DF-MIT ↑",
    "df_frac": "DF-Frac ↓",
    "deletion_rank": "deletion rank ↑",
}


def question(results: "AuditResults") -> str:
    """What the audit asks."""
    return f"Does {results.manifest.get('model') or 'the recorded model'} explain itself faithfully?"


def show_audit(results: "AuditResults", page: Path, *, paper_compat: bool) -> None:
    """The table of an audit, what to mind, and where to look."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.audit.results import Published
    from explicate.running import plain

    console = Console()
    table = Table(title=plain(question(results)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for title in ("metric", "by", "mean, interval", "items", "random", "best", "q", *(["paper"] if paper_compat else [])):
        table.add_column(title, no_wrap=True)
    for name, title in SHORT.items():
        for number, row in enumerate(results.rows):
            cells = [title if not number else "", plain(row.source), *_cells(row, name)]
            if paper_compat:
                published = row.paper_compat.get(name)
                cells.append(_figure(published.value) if isinstance(published, Published) else "[dim]none[/]")
            table.add_row(*cells)
        table.add_section()
    console.print(table)
    for row in results.rows:
        if row.n_failed or row.n_constant:
            console.print(
                f"{plain(row.source)}: {row.n_failed} of {row.n + row.n_failed} items have no explanation; {row.n_constant} "
                "explanations give all words one value, which is a random order."
            )
    for each in results.paired_differences:
        if each.metric == "comprehensiveness":
            q = "none" if each.q is None else f"{each.q:.3f}"
            console.print(
                f"{SHORT[each.metric]} {plain(each.a)} minus {plain(each.b)}, paired over {each.n} items: "
                f"{each.value:+.3f} [{each.low:+.3f}, {each.high:+.3f}], q {q}"
            )
    if paper_compat and not any(row.paper_compat for row in results.rows):
        console.print("The published formulas are of two labels; these answers have more.")
    console.print(f"Verdict: {results.verdict} ({plain(results.verdict_reason)}).")
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def _cells(row: "AuditRow", name: str) -> list[str]:
    from evals.audit.results import Metric

    value = row.metrics.get(name)
    if not isinstance(value, Metric):
        return ["[red]failed[/]", "", "", "", ""]
    return [
        f"{_figure(value.value)} [dim]{_figure(value.low)} to {_figure(value.high)}[/]",
        str(value.n),
        _figure(value.random),
        _figure(value.best),
        "" if value.q is None else f"{value.q:.3f}".replace("0.", ".", 1),
    ]


def _figure(value: "float | Failure") -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1) if isinstance(value, float) else "[dim]none[/]"
