"""What `explicate icl` prints: the answers, and of every analysis its figures and its curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evals.icl.results import Curve, IclResults
from evals.icl.saving import Saved, SavedAnswers
from evals.number_of import number_of
from evals.results import Failure, Value

if TYPE_CHECKING:
    from rich.console import Console

PLACES = 12
"""Places of a curve that are printed, spread evenly, the first and the last among them."""
COLUMNS = 6
"""Curves side by side."""
FEW = 20
"""Items below which it is told that intervals are too narrow."""
FEW_DRAWS = 3
"""Draws of demonstrations below which it is told that others may give other figures."""


def show_icl(found: IclResults, out: Path | None) -> None:
    """The accuracy beside what knowing nothing gets, then each analysis; intervals are of 95%, over items."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    console.print(
        f"{plain(found.model['name'])} on {plain(found.task.name)}: {number_of('item', found.items)} behind "
        f"{number_of('draw', found.seeds)} of {number_of('demonstration', found.shots)} a label. Share of right answers: "
        f"{_told(found.accuracy)}; of the commonest label: {found.largest_class:.2f}. Probability of any label: {_told(found.label_mass)}. "
        "Intervals are over items, behind these very demonstrations."
    )
    if found.asked:
        left = f"; left out, without one true label: {number_of('text', found.task.left_out)}" if found.task.left_out else ""
        console.print("asked: " + ", ".join(f"{plain(label)} {count}" for label, count in found.asked.items()) + left)
    if found.items < FEW:
        console.print(f"[yellow]Few items ({found.items}): their intervals are too narrow; ask about more (--n).[/]")
    if found.seeds < FEW_DRAWS:
        console.print(f"[yellow]Few draws of demonstrations ({found.seeds}): others may give other figures; give more (--seeds).[/]")
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    console.print("chosen: " + ", ".join(f"{plain(label)} {share:.2f}" for label, share in found.chosen.items()))
    for name, analysis in found.analyses.items():
        console.print(f"\n[b]{plain(name)}[/]" + "".join(f"\n[dim]{plain(note)}[/]" for note in analysis.notes))
        if analysis.failure is not None:
            console.print(f"[yellow]none ({plain(analysis.failure.reason)})[/]")
        _show_figures(console, analysis.figures)
        for over in dict.fromkeys((curve.over, tuple(curve.at)) for curve in analysis.curves.values()):
            same = {name: curve for name, curve in analysis.curves.items() if (curve.over, tuple(curve.at)) == over}
            for start in range(0, len(same), COLUMNS):
                _show_curves(console, dict(list(same.items())[start : start + COLUMNS]))
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def show_saved(saved: Saved) -> None:
    """What is kept of the demonstrations, and how to ask."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    console.print(
        f"Of {saved.tokens} tokens of {len(saved.shown)} demonstrations the keys and values of {saved.kept} are kept, "
        f"{saved.bytes:,} bytes: {plain(saved.path)}\n{_compared(saved)}\nAsk with: --load {plain(saved.path)} --ask TEXT",
        soft_wrap=True,
    )


def _compared(saved: Saved) -> str:
    """How loyal answers from what is kept are, and how fast; why not where that was not measured."""
    from explicate.running import plain

    loyalty, whole, kept = saved.label_loyalty, saved.seconds_whole, saved.seconds_kept
    if not isinstance(loyalty, Value) or not isinstance(whole, Value) or not isinstance(kept, Value):
        failed = next(each for each in (loyalty, whole, kept) if isinstance(each, Failure))
        return f"Whether they answer like the whole is not measured: {plain(failed.reason)}"
    return (
        f"Share of {number_of('item', loyalty.n)}, none of them shown, that is answered as behind the whole: {_told(loyalty)}; in "
        f"{kept.value:.2g} s each, where reading the whole anew takes {whole.value:.2g} s."
    )


def show_answers(answered: SavedAnswers) -> None:
    """Each text with the probabilities of the labels."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from explicate.running import plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("text", overflow="fold")
    table.add_column("answer")
    for label in answered.answers[0].probabilities:
        table.add_column(plain(label), justify="right")
    for each in answered.answers:
        table.add_row(plain(each.text), plain(each.label), *(f"{p:.2f}" for p in each.probabilities.values()))
    Console(emoji=False).print(table)


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
        table.add_row(plain(name).replace("_", " "), _told(value), "" if isinstance(value, Failure) else str(value.n))
    console.print(table)


def _show_curves(console: "Console", curves: Mapping[str, Curve]) -> None:
    """Curves over the same places, a column each; a failure is named below."""
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    first = next(iter(curves.values()))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(plain(first.over), justify="right", style="dim")
    for name in curves:
        table.add_column(plain(name).replace("_", " "), justify="right")
    for place in _spread(len(first.at)):
        table.add_row(f"{first.at[place]:g}", *(_cell(curve.values[place]) for curve in curves.values()))
    console.print(table)
    reasons = {name: value.reason for name, curve in curves.items() for value in curve.values if isinstance(value, Failure)}
    for name, reason in reasons.items():
        console.print(f"[yellow]{plain(name).replace('_', ' ')}: {plain(reason)}[/]")


def _spread(count: int) -> list[int]:
    if count <= PLACES:
        return list(range(count))
    return sorted({round(step * (count - 1) / (PLACES - 1)) for step in range(PLACES)})


def _cell(value: Value | Failure) -> str:
    return "[dim]none[/]" if isinstance(value, Failure) else f"{value.value:.2f}"


def _told(value: Value | Failure) -> str:
    from explicate.running import plain

    if isinstance(value, Failure):
        return f"none ({plain(value.reason)})"
    return rf"{value.value:.2f} \[{value.low:.2f}, {value.high:.2f}]"
