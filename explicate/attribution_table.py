"""What `explicate attribute` prints: the choice, and a table of the text's units by method."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.attribute import Attributed, AttributedBy

BAR = 5
"""Width of a bar, in characters."""
PAIRS = 5
"""Interactions shown, the largest ones."""
READ = {"logprobs": "label log-probabilities", "samples": "share of samples", "stated": "stated confidence"}
LITTLE_MASS = 0.1
"""Below it the model was about to write something else than a label."""


def show_attribution(found: "Attributed") -> None:
    """The choice, and for every method a column of values with bars, blue for the label and orange against it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from explicate.running import plain

    console = Console(emoji=False)
    chances = ", ".join(f"{plain(label)} {p:.2f}" for label, p in found.probabilities.items())
    console.print(
        f"{plain(found.model['model'])} chooses among: {chances} (by {READ[found.belief]}). "
        f"What each unit adds to the {found.value} of [b]{plain(found.label)}[/]:"
    )
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
    sampled = any(by.errors is not None for by in found.methods.values())
    console.print(evaluated_sentence(found) + ("; ± is the standard error from the sampling of texts." if sampled else "."))


def evaluated_sentence(found: "Attributed") -> str:
    """How many texts were asked about, and what that took; without its full stop."""
    taken = f"{found.prompt_tokens:,} tokens computed" if found.prompt_tokens else "all answers are from the cache"
    return (
        f"{found.texts_evaluated:,} different texts evaluated for {found.sets_asked:,} asked, units taken away by {found.operator}; {taken}"
    )


def _cell(by: "AttributedBy", place: int, largest: float) -> str:
    value = by.values[place]
    error = "" if by.errors is None else f"[dim]±{by.errors[place]:.2f}[/] "
    width = round(BAR * abs(value) / largest) if largest else 0
    colour = "blue" if value > 0 else "dark_orange"
    return f"{value:+.2f} {error}[{colour}]{'█' * width}[/]"
