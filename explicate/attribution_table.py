"""What `explicate attribute` prints: the choice, and a table of the text's units by method."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from evals.attribute import Attributed, AttributedBy
    from evals.continuation import ContinuationBy

BAR = 5
"""Width of a bar, in characters."""
PAIRS = 5
"""Interactions shown, the largest ones."""
READ = {"logprobs": "label log-probabilities", "samples": "share of samples", "stated": "stated confidence"}
LITTLE_MASS = 0.1
"""Below it the model was about to write something else than a label."""


DRAWS = ("shapley", "kernel-shap")
"""Methods that draw sets of units where not all of them fit the budget."""


def show_attribution(found: "Attributed", out: "Path | None") -> None:
    """The choice, and for every method a column of values with bars, blue for the label and orange against it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from explicate.running import plain

    console = Console(emoji=False)
    console.print(f"{plain(found.model['model'])} chooses among: {plain(chances(found.probabilities))} (by {READ[found.belief]}).")
    for note in found.notes:
        console.print(f"[yellow]{plain(note)}[/]")
    if not found.notes and (said := orders_sentence(found)):
        console.print(f"[dim]{plain(said)}[/]")
    console.print(f"What each unit adds to the {found.value} of [b]{plain(found.label)}[/]:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("unit", overflow="fold")
    for name in found.methods:
        table.add_column(name, no_wrap=True)
    largest = {name: max(map(abs, by.values), default=0.0) for name, by in found.methods.items()}
    for place, unit in enumerate(found.units):
        table.add_row(plain(unit), *(_cell(by, place, largest[name]) for name, by in found.methods.items()))
    console.print(table)
    if found.label_mass is not None and found.label_mass < LITTLE_MASS:
        console.print(f"[yellow]The model gives all labels together {found.label_mass:.1%}: it was about to write something else.[/]")
    for pair in (found.interactions or [])[:PAIRS]:
        a, b = (plain(found.units[unit]) for unit in pair.units)
        console.print(f"together {pair.value:+.2f}: {a} … {b}")
    console.print(f"{evaluated_sentence(found)}{drawn_sentence(found.methods, 'texts')}.")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def chances(probabilities: Mapping[str, float]) -> str:
    """Each label with its probability."""
    return ", ".join(f"{label} {p:.2f}" for label, p in probabilities.items())


def orders_sentence(found: "Attributed") -> str:
    """What the model gives the labels where they are listed in other orders; empty where that is not known."""
    from evals.attribute import Listed

    told = [each for each in found.other_orders if isinstance(each, Listed)]
    if not told:
        return ""
    shown = "; ".join(
        f"{', '.join(each.labels)}: {chances({name: each.probabilities[name] for name in found.probabilities})}" for each in told
    )
    return f"With the labels listed in another order, as {shown}."


def drawn_sentence(methods: "Mapping[str, AttributedBy] | Mapping[str, ContinuationBy]", what: str) -> str:
    """Behind a semicolon: which values are exact, since all sets of units were read, and that others have an error from sampling `what`."""
    exact = [name for name in DRAWS if name in methods and methods[name].errors is None]
    sampled = any(by.errors is not None for by in methods.values())
    verb = "is" if len(exact) == 1 else "are"
    return (f"; {' and '.join(exact)} {verb} exact, over all sets of the units" if exact else "") + (
        f"; ± is the standard error from the sampling of {what}" if sampled else ""
    )


def evaluated_sentence(found: "Attributed") -> str:
    """How many texts were asked about, and what that took; without its full stop."""
    taken = f"{found.prompt_tokens:,} tokens computed" if found.prompt_tokens else "all answers are from the cache"
    return (
        f"{found.texts_evaluated:,} different texts evaluated for {found.sets_asked:,} asked, units taken away by operator "
        f"{found.operator}; {taken}"
    )


def _cell(by: "AttributedBy", place: int, largest: float) -> str:
    value = by.values[place]
    error = "" if by.errors is None else f"[dim]±{by.errors[place]:.2f}[/] "
    width = round(BAR * abs(value) / largest) if largest else 0
    colour = "blue" if value > 0 else "dark_orange"
    return f"{value:+.2f} {error}[{colour}]{'█' * width}[/]"
