"""What `explicate edit` prints: each method beside its controls, the model after many edits, and what it says of the facts."""

from pathlib import Path
from typing import TYPE_CHECKING

from evals.editing.config import is_control
from evals.number_of import number_of
from evals.results import Failure, Value
from explicate.edit_words import headline, layers_told, measure_name, method_name, seconds_told
from explicate.probe_words import number, told

if TYPE_CHECKING:
    from rich.console import Console

    from evals.editing.results import Edited, EditsAsked

MOST = 12
"""Edits that are printed."""
COLOURS = {"Seen": "green", "Not seen": "yellow", "Not measured": "yellow", "Too few edits": "yellow"}
SHOWN = ("edit_success", "generalisation", "portability", "locality", "score", "fluency")
"""Measures that are printed; all are in --json and on the page."""


def show_edited(found: "Edited", page: Path | None) -> None:
    """The methods, the sequence, the facts and notes; intervals are of 95%, over edits."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    console.print(f"{plain(found.model['name'])}: {number_of('edit', len(found.edits))}, {plain(layers_told(found))}")
    for name, says, word in headline(found):
        console.print(f"[b]{plain(name)}[/]: {plain(says)}. Above its controls: [{COLOURS[word]}]{word}[/]")
    _show_methods(console, found)
    _show_sequence(console, found)
    _show_edits(console, found)
    if found.seconds:
        console.print(f"one edit takes: {plain(seconds_told(found))}")
    taken = "[green]every weight is as it was, to the bit[/]" if found.restored_exactly else "[red]weights are not as they were[/]"
    console.print(f"after the run {taken}")
    for name, why in found.left_out:
        console.print(f"[yellow]left out {plain(name)}: {plain(why)}[/]")
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if page is not None:
        console.print(f"Edits: {plain(str(page.parent))}  Report: {plain(str(page))}", soft_wrap=True)


def show_asked(found: "EditsAsked") -> None:
    """Every prompt with what stands behind it, without and with the edits."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    by = " and ".join(f"{method_name(method)} from {plain(path)}" for method, path in zip(found.methods, found.paths, strict=True))
    console.print(f"{plain(found.model['name'])}, {number_of('edit', len(found.edits))} by {by}")
    for each in found.answers:
        console.print(f"[b]{plain(each.prompt)}[/]")
        console.print(f"  without: {plain(each.without)}")
        console.print(f"  edited:  {plain(each.edited)}")
    if found.exported is not None:
        console.print(f"The edited model: {plain(found.exported)}", soft_wrap=True)
    if not found.restored_exactly:
        console.print("[red]weights are not as they were[/]")


def _show_methods(console: "Console", found: "Edited") -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    if not found.methods:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    shown = [name for name in SHOWN if any(isinstance(each[name], Value) for each in found.methods.values())]
    for name in shown:
        table.add_column(plain(measure_name(name)), overflow="fold")
    for method, measures in found.methods.items():
        control = is_control(method)
        cells = [_cell(measures[name]) for name in shown]
        table.add_row(plain(method_name(method)), *cells, style="dim" if control else None)
    console.print(table)


def _show_sequence(console: "Console", found: "Edited") -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    for method, steps in found.sequence.items():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{method_name(method)}, edit after edit", title_justify="left")
        table.add_column("edits", justify="right")
        for head in ("success so far", "locality", "perplexity"):
            table.add_column(head)
        for step in steps:
            table.add_row(str(step.edits), *(plain(told(each)) for each in (step.success, step.locality, step.perplexity)))
        console.print(table)


def _show_edits(console: "Console", found: "Edited") -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("prompt", "new", "said before"):
        table.add_column(head, overflow="fold")
    names = [name for name in found.methods if not is_control(name)]
    for name in names:
        table.add_column(plain(method_name(name)), overflow="fold")
    if not names:
        table.add_column("says now", overflow="fold")
    for each in found.edits[:MOST]:
        after = [each.outcomes[name].text for name in names] if names else [each.after or ""]
        table.add_row(*map(plain, (each.prompt, each.target.strip(), each.before, *after)))
    console.print(table)
    if len(found.edits) > MOST:
        console.print(f"[dim]{len(found.edits) - MOST} more edits are in the report (-o FOLDER) and in --json.[/]")


def _cell(value: Value | Failure) -> str:
    if isinstance(value, Failure):
        return "[dim]none[/]"
    return f"{number(value.value)}\n[dim]{number(value.low)} to {number(value.high)}[/]"
