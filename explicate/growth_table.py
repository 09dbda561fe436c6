"""What `explicate grow` prints: of every training what grew when, and what was forgotten again."""

from pathlib import Path
from typing import TYPE_CHECKING

from evals.results import Failure, Value
from explicate.growth_words import MEASURES, before_told, curve_name, is_above_chance, order_told, t90_told, verdict
from explicate.probe_words import number, told

MOST = 20
"""Curves that are printed; of more only those that are no part of another one, as one part of speech is."""

NAMED = 3
"""Curves that are named where more of them failed together."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from evals.growing.results import Curve, Grown, Series


def show_grown(found: "Grown", out: Path | None) -> None:
    """Of every training its order and a table of its curves, the first acquired first; then what came before what, and notes."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    for series in found.series:
        steps = series.steps
        console.print(f"[b]{plain(series.name)}[/]: {len(steps)} checkpoints, step {steps[0]:,} to {steps[-1]:,}")
        console.print(plain(order_told(found, series)))
        _show_curves(console, found, series)
        for said in _failed(series):
            console.print(f"[yellow]{plain(said)}[/]")
    for before in found.before:
        word, kind = verdict(before, len(found.series))
        console.print(f"[{'green' if kind == 'good' else 'yellow'}]{word}[/] {plain(before_told(before, len(found.series)))}")
    if isinstance(found.tau, Value) or len(found.series) > 1:
        console.print(f"Kendall's tau of the order between trainings: {plain(told(found.tau))}")
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def _show_curves(console: "Console", found: "Grown", series: "Series") -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("curve", overflow="fold")
    for head in ("first", "final", "chance"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("90% at step", overflow="fold")
    table.add_column("monotone", justify="right", no_wrap=True)
    table.add_column("forgotten", justify="right", overflow="fold")
    ordered = sorted(series.curves, key=lambda curve: found.order.index(curve.name))
    shown = [curve for curve in ordered if len(ordered) <= MOST or curve.name in MEASURES]
    for curve in shown:
        style = "bold" if curve.name == curve.probe else None
        table.add_row(plain(curve_name(curve.name)), *_cells(curve), style=style)
    console.print(table)
    if len(shown) < len(ordered):
        console.print(f"[dim]{len(ordered) - len(shown)} curves of parts of these are in the report (-o growth.html) and in --json.[/]")


def _failed(series: "Series") -> "Iterator[str]":
    """Every reason once for each checkpoint, with the curves that it left without a value there."""
    for at, checkpoint in enumerate(series.checkpoints):
        by_reason: dict[str, list[str]] = {}
        for curve in series.curves:
            if isinstance(value := curve.values[at], Failure):
                by_reason.setdefault(value.reason, []).append(curve.name)
        for reason, names in by_reason.items():
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{', '.join(names[:NAMED])}{more} at {checkpoint.name}: {reason}"


def _cells(curve: "Curve") -> list[str]:
    from explicate.running import plain

    forgotten = curve.summary["forgetting"]
    lost = isinstance(forgotten, Value) and forgotten.low > 0
    final = _short(curve.values[-1])
    cells = [_short(curve.values[0]), final if is_above_chance(curve) else f"[yellow]{final}[/]"]
    cells += ["" if curve.chance is None else number(curve.chance.value)]
    cells += [plain(t90_told(curve.summary["t90"])), _short(curve.summary["monotonicity"])]
    return [*cells, plain(told(forgotten)) if lost else "[dim]not seen[/]"]


def _short(value: Value | Failure) -> str:
    return "[dim]none[/]" if isinstance(value, Failure) else number(value.value)
