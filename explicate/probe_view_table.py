"""What `explicate probe view` prints: of every layer's views what they keep of who is near whom."""

from pathlib import Path

from evals.probes.view_results import Viewed
from explicate.probe_view_page import FIGURES, VIEWS
from explicate.probe_words import told


def show_view(found: Viewed, out: Path | None) -> None:
    """A table for each layer; intervals are of 95%."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from explicate.running import plain

    console = Console(emoji=False)
    items = ", ".join(f"{plain(name.replace('_', ' '))} {count:,}" for name, count in found.items.items())
    console.print(f"{plain(found.model['name'])}, states by {plain(found.task)}: {items}")
    shown = ("trustworthiness", "neighbours_kept", *(("same_label",) if found.labelled == "labels" else ()))
    names = [name for name in FIGURES if name in shown]
    for layer in found.layers:
        explained = f", components show {sum(layer.explained):.1%} of the variance" if layer.explained else ""
        console.print(f"\n[b]layer {layer.layer}[/]{explained}")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("view")
        for name in names:
            table.add_column(FIGURES[name], overflow="fold")
        for name, plane in layer.planes.items():
            if plane.failure is None:
                table.add_row(VIEWS.get(name, plain(name)), *(plain(told(plane.figures[figure])) for figure in names))
        for name, figures in layer.controls.items():
            cells = (plain(told(figures[figure])) if figure in figures else "" for figure in names)
            table.add_row(f"[dim]control: {plain(name.replace('_', ' '))}[/]", *cells)
        if layer.same_label is not None:
            table.add_row("[dim]the states themselves[/]", *[""] * (len(names) - 1), plain(told(layer.same_label)))
        console.print(table)
        for name, plane in layer.planes.items():
            if plane.failure is not None:
                console.print(f"[yellow]{VIEWS.get(name, plain(name))}: none ({plain(plane.failure.reason)})[/]")
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is None:
        console.print("[dim]The views themselves: -o view.html[/]")
    else:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)
