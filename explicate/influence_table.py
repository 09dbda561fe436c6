"""What `explicate influence` prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.influence.evaluate_results import Evaluated, Measure
    from evals.influence.pairs_results import Pairs
    from evals.influence.results import Fitted, Influences

BEFORE, FEWEST, LINES = 62, 16, 2
"""Room for the other columns, and of a passage characters a line at least and lines."""


def show_fitted(found: "Fitted") -> None:
    """What was fitted, and what to do with it."""
    from rich.console import Console

    from evals.number_of import number_of
    from explicate.influence_words import METHODS
    from explicate.running import plain

    console = Console(emoji=False)
    console.print(
        f"{plain(found.model['name'])}: {METHODS[found.method]} factors of {number_of('layer', len(found.layers))} ({found.modules}) on "
        f"{number_of('passage', found.passages)}, {found.tokens:,} tokens"
    )
    console.print(f"Factors: {plain(found.folder)}, {found.disk_bytes / 1e6:,.1f} MB; they serve {', '.join(found.serves)}", soft_wrap=True)
    console.print(
        f"[dim]Ask: explicate influence query {plain(found.folder)} --prompt '...' --completion ' ...' -o influence.html", soft_wrap=True
    )


def show_influences(found: "Influences", out: Path | None) -> None:
    """Of every query its headline, the passages at the top with their ranks by every baseline, and how far rankings agree."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.results import Failure
    from explicate.influence_words import BASELINES, METHODS, baselines_of, headline, in_units, rank_told
    from explicate.probe_words import told
    from explicate.running import plain

    console = Console(emoji=False)
    console.print(f"{plain(found.model['name'])}, {METHODS.get(found.method, plain(found.method))}: {found.candidates:,} passages")
    for query in found.queries:
        console.print(f"\n{plain(query.prompt)}[b]{plain(query.completion)}[/]  [dim]log-probability {query.logprob:.2f}[/]")
        console.print(plain(headline(query, found.candidates, others=len(found.queries) > 1)))
        names = baselines_of(query)
        words = max(FEWEST, console.width - BEFORE)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("", justify="right", style="dim", min_width=2)
        table.add_column("influence", justify="right", no_wrap=True)
        for name in names:
            table.add_column(BASELINES.get(name, plain(name)), justify="right", style="dim", no_wrap=True)
        table.add_column("passage", overflow="fold")
        for passage in query.passages:
            mark = " [yellow]*[/]" if passage.unspecific else ""
            ranks = [rank_told(passage.ranks[name]) for name in names]
            table.add_row(str(passage.rank), in_units(passage.score, query.unit) + mark, *ranks, plain(passage.text[: LINES * words]))
        console.print(table)
        console.print("[dim]influence in units of the root mean square over all passages; ranks among the same passages[/]")
        if any(passage.unspecific for passage in query.passages):
            control = plain(repr(query.control.completion))
            console.print(f"[dim]* raises the control {control}, or text from elsewhere, at least as much, each in its own units")
        for name, value in query.agreement.items():
            console.print(f"[dim]Spearman with {BASELINES.get(name, plain(name))}: {plain(told(value))}[/]")
        for name in names:
            if query.passages and isinstance(failed := query.passages[0].ranks[name], Failure):
                console.print(f"[yellow]{BASELINES.get(name, plain(name))}: {plain(failed.reason)}[/]")
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def show_evaluated(found: "Evaluated", out: Path | None) -> None:
    """Of everything that is known how well each method finds it, and whether influence lies above it."""
    from rich.console import Console

    from explicate.influence_words import METHODS
    from explicate.probe_words import told
    from explicate.running import plain

    console = Console(emoji=False)
    console.print(
        f"{found.passages:,} passages, {found.queries} planted facts and as many pairs, {found.trainings} trainings of "
        f"{found.steps:,} steps or, on fewer passages, fewer"
    )
    console.print(f"facts learnt in other words: {plain(told(found.known))}; by chance {found.known_by_chance:.2f}")
    _show_measures(console, found.measures, METHODS["ekfac"])
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def show_pairs(found: "Pairs", out: Path | None) -> None:
    """How often the expected text moves its query more, by each method, beside what the same texts do to other queries."""
    from rich.console import Console

    from evals.number_of import number_of
    from explicate.influence_words import METHODS, pairs_headline
    from explicate.running import plain

    console = Console(emoji=False)
    first = METHODS.get(found.method, plain(found.method))
    console.print(f"{plain(found.model['name'])}, {first}: {number_of('pair', len(found.pairs))} of {found.in_file:,}")
    console.print(plain(pairs_headline(found)))
    _show_measures(console, found.measures, first)
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def _show_measures(console: Any, measures: Mapping[str, "Measure"], first: str) -> None:
    """first: what is held against the others, as it is called."""
    from rich import box
    from rich.table import Table

    from explicate.influence_words import measure_words, method_name, verdict_of
    from explicate.probe_words import told
    from explicate.running import plain

    for name, measure in measures.items():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=measure_words(name)[0], title_justify="left", title_style="bold")
        table.add_column("method")
        table.add_column(f"over {measure.over}", no_wrap=True)
        if measure.lifts:
            table.add_column(f"{first}, paired")
        for method, value in measure.figures.items():
            lift = measure.lifts.get(method)
            word = "" if lift is None else verdict_of(lift)
            colour = {"Above": "green", "Below": "red"}.get(word, "yellow")
            told_lift = [f"[{colour}]{word}[/]" if word else ""] if measure.lifts else []
            table.add_row(plain(method_name(method)), plain(told(value)), *told_lift)
        console.print(table)
        if measure.chance is not None:
            console.print(f"[dim]knowing nothing gets {measure.chance:.3f}")
