"""What `explicate audit` prints: faithfulness by source of the explanations, beside random rankings and the best one found."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.audit.results import AuditResults, AuditRow, PairedDifference
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
    "comprehensiveness": "comprehensiveness",
    "sufficiency": "sufficiency",
    "df_mit": "DF-MIT",
    "df_frac": "DF-Frac",
    "deletion_rank": "rank corr.",
}


def show_audit(results: "AuditResults", page: Path, *, paper_compat: bool) -> None:
    """The table of an audit, what to mind, and where to look."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from agents.untrusted import one_line

    console = Console()
    model = escape(one_line(str(results.manifest.get("model", ""))))
    table = Table(title=f"Does {model} explain itself faithfully?", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("metric", "explained by", "mean", "95 % interval", "items", "random", "best found", "p"):
        table.add_column(title, no_wrap=title != "metric")
    if paper_compat:
        table.add_column("published\nformula")
    for name, title in TITLES.items():
        for number, row in enumerate(results.rows):
            cells = _cells(row, name)
            compat = [_figure(row.paper_compat[name]) if name in row.paper_compat else ""] if paper_compat else []
            table.add_row(title if not number else "", escape(one_line(row.source)), *cells, *compat)
        table.add_section()
    console.print(table)
    for each in results.paired_differences:
        if each.metric == "comprehensiveness":
            console.print(f"{TITLES[each.metric]} of {each.a} minus {each.b}, paired over {each.n} items: {_interval(each)}")
    console.print(f"Verdict: {results.verdict} ({results.verdict_reason}).")
    console.print(f"Report: {escape(str(page))}", soft_wrap=True)


def _cells(row: "AuditRow", name: str) -> list[str]:
    from evals.audit.results import Metric

    value = row.metrics[name]
    if not isinstance(value, Metric):
        return ["[red]failed", "", "", "", "", ""]
    shown = f"{value.n} of {row.n + row.n_failed}"
    return [
        _figure(value.value),
        f"{_figure(value.low)} to {_figure(value.high)}",
        shown,
        _figure(value.random),
        _figure(value.best),
        "none" if value.p is None else f"{value.p:.3f}",
    ]


def _figure(value: "float | Failure") -> str:
    return f"{round(value, 3) + 0.0:.3f}".replace("0.", ".", 1) if isinstance(value, float) else "[dim]none[/]"


def _interval(value: "PairedDifference") -> str:
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}], q {value.q:.3f}"
