"""What `explicate probe place` prints beside what every probe does: held-out groups, neurons, the entities that are farthest off."""

from collections.abc import Sequence
from pathlib import Path

from evals.probes.place_results import PlaceProbed
from evals.results import Failure

FARTHEST = 5


def show_place(found: PlaceProbed, out: Path | None) -> None:
    """The common part, then what is of places and dates."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from explicate.place_page import NEURON_HEADS, held_out_rows, neuron_rows
    from explicate.probe_table import show_probed
    from explicate.probe_words import metric_name
    from explicate.running import plain

    console = Console(emoji=False)

    def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
        for head in heads:
            table.add_column(plain(head), overflow="fold")
        for row in rows:
            table.add_row(*map(plain, row))
        console.print(table)

    show_probed(found, out)
    if (held := found.held_out) is not None:
        title = f"Held out by {plain(held.column)}: {held.groups} groups in {held.folds} folds, intervals over {plain(held.unit)}"
        show(title, ("", metric_name(found.main), "the probe less it", "p", ""), held_out_rows(held, found.main))
    for column, neurons in found.neurons.items():
        if isinstance(neurons, Failure):
            console.print(f"[yellow]neurons along {plain(column)}: {plain(neurons.reason)}[/]")
        else:
            show(f"Neurons along {plain(column)}", NEURON_HEADS, neuron_rows(neurons))
    unit = " km" if len(found.target) == 2 else ""
    by_error = sorted(found.points, key=lambda point: point.error)
    for told, points in (("Nearest", by_error[:FARTHEST]), ("Farthest off", by_error[: -FARTHEST - 1 : -1])):
        console.print(f"{told}: " + ", ".join(f"{plain(point.name)} {point.error:,.0f}{unit}" for point in points))
