"""What `explicate import` and `explicate rescore` print."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from explicate.label_table import FREE, show
from explicate.running import cell, plain

if TYPE_CHECKING:
    from evals.exchange.results import ImportedResults, Problem

SITES = 20
"""Rows of the table; all sites are in results.json and on the page."""


def show_imported(results: "ImportedResults", page: Path) -> None:
    """The sites with what they came with, and what is wrong with the data."""
    from rich.console import Console

    from explicate.task_output import new_table

    table = new_table(
        f"Imported: {results.manifest['config']['subject']}", ("site", "±", "records", "distinct", FREE["token_lookup"], "published")
    )
    table.add_column("explanation", ratio=1, min_width=16, overflow="fold")
    for site in results.sites[:SITES]:
        published = ", ".join(f"{name} {'undefined' if value is None else f'{value:.2f}'}" for name, value in site.published.items())
        look_up = site.controls.get("token_lookup", {}).get("pearson")
        row = (site.site, site.polarity, str(site.n_records), str(site.n_distinct), cell(look_up), plain(published[:40]))
        table.add_row(plain(row[0]), *row[1:], plain(site.explanation or ""))
    console = Console()
    console.print(table)
    if len(results.sites) > SITES:
        console.print(f"{len(results.sites) - SITES:,} more sites are in results.json.")
    _show_problems(results)
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)
    if any(site.explanation for site in results.sites):
        console.print(f"Next: explicate rescore {plain(str(page.parent))}", soft_wrap=True)


def show_rescored(results: "ImportedResults", page: Path) -> None:
    """The table of a labelling run, and what is wrong with the data."""
    show(results, page)
    _show_problems(results)


def _show_problems(results: "ImportedResults") -> None:
    """Of every kind of problem the first, and how many there are."""
    from rich.console import Console

    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in results.problems:
        kinds[problem.kind].append(problem)
    console = Console()
    for kind, found in kinds.items():
        where = f"{found[0].site}: " if found[0].site else ""
        more = f" [dim](and {len(found) - 1} more)" if len(found) > 1 else ""
        console.print(f"[yellow]{kind}[/] {plain(where + found[0].what)}{more}", soft_wrap=True)
    if not kinds:
        console.print("No problem was found in the data.")
