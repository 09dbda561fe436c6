"""What every probe prints: its figure beside what knows nothing, its layers, its baselines, and how far it lies above each of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evals.results import Failure, Value
from explicate.probe_words import (
    above_all,
    at_best,
    baseline_name,
    chance,
    claimed,
    gain,
    located,
    metric_name,
    number,
    p_told,
    told,
    verdict,
    where,
)

if TYPE_CHECKING:
    from rich.console import Console

    from evals.probes.results import Probed

PLACES = 12
"""Layers that are printed, spread evenly, the first, the last and the chosen one among them."""
MAIN_ROOM = 34
"""Characters that the layer and the main metric with its interval take."""
COLOURS = {"Seen": "green", "The opposite": "red", "Not seen": "yellow", "Not measured": "yellow"}


def show_probed(found: "Probed", out: Path | None) -> None:
    """The headline, layers with further curves beside, baselines, lifts, figures and notes; intervals are of 95%."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    items = ", ".join(f"{plain(name.replace('_', ' '))} {count:,}" for name, count in found.items.items())
    console.print(f"{plain(found.model['name'])}, {plain(found.task)}: {items}")
    against = chance(found)
    beside = "" if against is None else f"; {plain(against[0])} {_plain_told(against[1])}"
    console.print(f"[b]{plain(metric_name(found.main))} {_plain_told(at_best(found))}[/] at {where(found)}{beside}")
    word, which = above_all(found)
    console.print(f"above every baseline: [{COLOURS[word]}]{claimed(word)}[/]" + (f" ({plain(which)})" if which else ""))
    console.print(f"[dim]Intervals are over {plain(found.unit)}; the layer was chosen on held-out training items.[/]")
    _show_layers(console, found)
    _show_baselines(console, found)
    _show_figures(console, found.figures)
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def _show_layers(console: "Console", found: "Probed") -> None:
    """The main metric with its interval, then the others and what further curves have of the main one."""
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    curves = {name: {each.layer: each.metrics.get(found.main) for each in curve} for name, curve in found.curves.items()}
    every = list(dict.fromkeys(name for each in found.layers for name in each.metrics if name != found.main))
    room = console.width - MAIN_ROOM - _room(map(baseline_name, curves))
    others = [name for place, name in enumerate(every, 1) if _room(map(metric_name, every[:place])) <= room]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", justify="right", style="dim")
    table.add_column(plain(metric_name(found.main)), no_wrap=True)
    for name in others:
        table.add_column(plain(metric_name(name)), justify="right", overflow="fold")
    for name in curves:
        table.add_column(plain(baseline_name(name)), justify="right", style="dim", overflow="fold")
    best = next((place for place, each in enumerate(found.layers) if each.layer == found.best), 0)
    for place in _spread(len(found.layers), best):
        each = found.layers[place]
        row = [_cell(each.metrics.get(name)) for name in others] + [_cell(curve.get(each.layer)) for curve in curves.values()]
        main = each.metrics.get(found.main)
        told_main = "" if main is None else _plain_told(main)
        chosen = each.layer == found.best
        table.add_row(f"{'* ' if chosen else ''}{each.layer}", told_main, *row, style="bold" if chosen else None)
    beside = [f"{', '.join(map(baseline_name, curves))}: {metric_name(found.main)}"] if curves else []
    missing = [metric_name(name) for name in every[len(others) :]]
    if missing:
        beside.append(f"not shown in so narrow a terminal: {', '.join(missing)}")
    if beside:
        table.caption, table.caption_justify = plain("; ".join(beside)), "left"
    console.print(table)
    for each in found.layers:
        for name, value in each.metrics.items():
            if isinstance(value, Failure):
                console.print(f"[yellow]layer {each.layer}, {plain(metric_name(name))}: {plain(value.reason)}[/]")


def _show_baselines(console: "Console", found: "Probed") -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    names = dict.fromkeys((*found.baselines, *found.lifts))
    if not names:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("baseline")
    table.add_column(plain(metric_name(found.main)), no_wrap=True)
    table.add_column(f"{where(found).partition(',')[0]} less it", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("")
    for name in names:
        baseline, lift = found.baselines.get(name), found.lifts.get(name)
        value = None if baseline is None else baseline.metrics.get(found.main)
        row = [plain(located(name, baseline, found.best)), "" if value is None else _plain_told(value)]
        if lift is None:
            row += ["", "", ""]
        elif isinstance(lift, Failure):
            row += [_plain_told(lift), "", ""]
        else:
            word = verdict(lift)
            row += [plain(gain(lift)), p_told(lift.p).removeprefix("p = "), f"[{COLOURS[word]}]{word}[/]"]
        table.add_row(*row)
    console.print(table)


def _show_figures(console: "Console", figures: Mapping[str, Value | Failure]) -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    if not figures:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", overflow="fold")
    table.add_column("value, with its 95% interval")
    table.add_column("n", justify="right")
    for name, value in figures.items():
        table.add_row(plain(metric_name(name)), _plain_told(value), "" if isinstance(value, Failure) else f"{value.n:,}")
    console.print(table)


def _room(names: Iterable[str]) -> int:
    """Characters that columns of these names take, which may be broken between words."""
    return sum(max(len(word) for word in (*name.split(), "-0.000")) + 3 for name in names)


def _spread(count: int, best: int) -> list[int]:
    if count <= PLACES:
        return list(range(count))
    return sorted({best, *(round(step * (count - 1) / (PLACES - 2)) for step in range(PLACES - 1))})


def _cell(value: Value | Failure | None) -> str:
    return "" if value is None else "[dim]none[/]" if isinstance(value, Failure) else number(value.value)


def _plain_told(value: Value | Failure | float) -> str:
    from explicate.running import plain

    return number(value) if isinstance(value, float) else plain(told(value))
