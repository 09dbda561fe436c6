"""What `explicate import` and `explicate rescore` print."""

from pathlib import Path
from typing import TYPE_CHECKING

from explicate.label_table import FREE, named, show
from explicate.running import cell, plain

if TYPE_CHECKING:
    from evals.exchange.results import ImportedResults, ImportedSite

SITES = 20
"""Rows of the table; all sites are in results.json and on the page."""
WIDE = 22
"""Characters of a site's name in a line."""
LONG = 200
"""Characters of an explanation; the whole is there, too."""


def show_imported(results: "ImportedResults", page: Path) -> None:
    """The sites with what they came with, and what is wrong with the data."""
    from rich.console import Console

    from explicate.task_output import new_table

    table = new_table(f"Imported: {results.manifest['config']['subject']}", ("site", "±", "records\n[dim]distinct", FREE["token_lookup"]))
    published = any(site.published for site in results.sites)
    if published:
        table.add_column("published", max_width=16, overflow="fold")
    table.add_column("explanation", ratio=1, min_width=14, overflow="fold")
    for site in results.sites[:SITES]:
        look_up = cell(site.controls.get("token_lookup", {}).get("pearson"))
        row = [named(site.site, WIDE), site.polarity, f"{site.n_records}\n[dim]{site.n_distinct}", look_up]
        table.add_row(*row, *([_published(site)] if published else []), _explanation(site))
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


MOST = 3
"""Published scores of a site that the table shows; all stand in results.json."""


def _published(site: "ImportedSite") -> str:
    values = [("undefined" if value is None else f"{value:.2f}", name) for name, value in site.published.items()]
    more = [f"[dim]and {len(values) - MOST} more[/]"] if len(values) > MOST else []
    return "\n".join([*(f"{value} [dim]{plain(name[:60])}[/]" for value, name in values[:MOST]), *more])


def _explanation(site: "ImportedSite") -> str:
    if site.explanation is None:
        return f"[red]{plain(site.failures[0].reason if site.failures else 'none')}"
    return plain(site.explanation if len(site.explanation) <= LONG else f"{site.explanation[:LONG]}…")


def _show_problems(results: "ImportedResults") -> None:
    """Of every kind of problem the first, and how many there are."""
    from rich.console import Console
    from rich.table import Table

    from evals.exchange.problems import summed

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for kind, what, more in summed(results.problems):
        table.add_row(f"[yellow]{kind}", plain(what) + (f" [dim](and {more} more)" if more else ""))
    console = Console()
    console.print(table if results.problems else "No problem was found in the data.")
