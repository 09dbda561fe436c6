"""What `explicate trace` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.results import Failure, Value
    from evals.tracing.results import Traced

ROWS = 12
"""Layers of a table at most."""


def show_traced(found: "Traced", out: Path | None) -> None:
    """The headline, every claim with its figures, the effects by layer at the tokens that matter, and what was not traced."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.results import Failure
    from explicate.running import plain
    from explicate.trace_words import CLAIMS, CLASSES, KINDS, headline, lift_told, peak_told, told, verdict

    console = Console(emoji=False)
    console.print(
        f"{plain(found.model['name'])}: {found.known} facts traced of {found.tried} asked for and {found.there} of the file; "
        f"p {told(found.probability)}, with noise on the subject {told(found.corrupted)}"
    )
    console.print(plain(headline(found)))
    for name, claim in found.claims.items():
        word, kind = verdict(claim)
        style = {"good": "green", "bad": "red", "dim": "dim"}[kind]
        console.print(f"\n[{style}]{word}[/]: {CLAIMS.get(name, plain(name))}  [dim]{plain(told(claim.effect))} {peak_told(claim)}")
        for other, value in claim.lifts.items():
            console.print(f"  [dim]{plain(lift_told(other, value))}")
    shown = [("last_subject", kind) for kind in found.kinds] + [("last", kind) for kind in found.kinds]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Indirect effect", title_justify="left")
    table.add_column("layer", justify="right", style="dim")
    for at, kind in shown:
        table.add_column(f"{KINDS.get(kind, plain(kind))} at {CLASSES[at]}", justify="right")
    for layer in _spread(found.layers):
        table.add_row(str(layer), *(_short(found.effect[kind][layer][found.token_classes.index(at)]) for at, kind in shown))
    console.print(table)
    console.print("[dim]Above, a peak's layer is chosen for each fact by all others, so that the largest here may be larger.[/]")
    if isinstance(found.knockout, Failure):
        console.print(f"[yellow]attention cut off: {plain(found.knockout.reason)}[/]")
    console.print(f"[dim]{found.cost.seconds / max(found.known, 1):.0f} s and {found.cost.texts / max(found.known, 1):,.0f} texts a fact")
    for note in found.notes:
        console.print(f"[dim]{plain(note)}[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def _spread(layers: int) -> Sequence[int]:
    """So many that they can be read, the first and the last among them."""
    many = min(ROWS, layers)
    return sorted({round(row * (layers - 1) / max(many - 1, 1)) for row in range(many)})


def _short(value: "Value | Failure") -> str:
    from evals.results import Failure

    return "-" if isinstance(value, Failure) else f"{value.value:+.3f} [dim]{value.low:+.3f} {value.high:+.3f}[/]"
