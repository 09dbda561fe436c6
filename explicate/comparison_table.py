"""What the terminal shows of a comparison: the metrics that changed, what else did, and how many there are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import get_args

from evals.comparison.results import Change, Comparison, ProvenanceChange, Verdict
from evals.results import Failure, Value
from explicate.running import plain, short
from explicate.task_output import new_table

COLOURS: Mapping[Verdict, str] = MappingProxyType({"regressed": "red", "failed": "red", "improved": "green", "recovered": "green"})
"""Of the verdicts that are news."""
ARROWS = MappingProxyType({"higher": "↑", "lower": "↓", "": ""})
CAUSES = 4
"""That are named beside a metric; all stand below."""
LONGEST = 60
"""Of a value of what else changed."""


def show_comparison(found: Comparison, *, every: bool = False) -> None:
    """every: unchanged metrics, too."""
    from rich.console import Console

    console = Console()
    shown = [change for change in found.changes if every or change.verdict in COLOURS]
    if shown:
        table = new_table(f"{found.run} beside {found.baseline}", ("metric", "before", "after", "difference", "q"))
        table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
        for change in sorted(shown, key=_place):
            table.add_row(*_cells(change, found.provenance))
            table.add_section()
        console.print(table)
    else:
        console.print(f"{plain(found.run)} beside {plain(found.baseline)}: no metric changed by more than its noise.", soft_wrap=True)
    for title, keys in (("Missing, and in the baseline", found.missing), ("New, and not in the baseline", found.new)):
        if keys:
            console.print(f"{title}: {plain('; '.join(' '.join(filter(None, (key.task, key.name, key.of))) for key in keys))}")
    if found.provenance:
        console.print("What else changed:")
        for cause in found.provenance:
            console.print(
                f"  {plain(cause.task + ': ' if cause.task else '')}{plain(cause.what)}: {_cut(cause.before)} → {_cut(cause.after)}"
            )
    console.print(count_sentence(found))
    console.print(
        "↑ ↓ which way is better; q: chance of such a difference where nothing changed, adjusted for all watched metrics "
        f"(Benjamini-Hochberg, alpha {short(found.alpha)}); below a value its 95 % interval.",
        style="dim",
    )


def count_sentence(found: Comparison) -> str:
    """How many metrics ended how."""
    counts = Counter(change.verdict for change in found.changes)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])
    return f"{len(found.changes)} metrics: {said or 'none in common'}."


def causes(change: Change, provenance: Iterable[ProvenanceChange]) -> list[str]:
    """What changed beside this metric."""
    return [cause.what for cause in provenance if cause.task in ("", change.task)]


def _place(change: Change) -> int:
    return get_args(Verdict).index(change.verdict)


def _cells(change: Change, provenance: Iterable[ProvenanceChange]) -> tuple[str, ...]:
    name = f"{plain(change.task + ': ' if change.task else '')}{plain(change.name.replace('_', ' '))} {ARROWS[change.better]}"
    colour = COLOURS.get(change.verdict)
    beside = causes(change, provenance) if colour else []
    more = f" and {len(beside) - CAUSES} more" if len(beside) > CAUSES else ""
    lines = [
        name,
        f"[{colour}]{change.verdict}[/]" if colour else f"[dim]{change.verdict}[/]",
        f"[dim]{plain(change.of)}[/]" if change.of else "",
        f"[yellow]changed, too: {plain(', '.join(beside[:CAUSES]))}{more}[/]" if beside else "",
    ]
    return (
        "\n".join(line for line in lines if line),
        _cell(change.before),
        _cell(change.after),
        _cell(change.difference, sign=True) + f"\n[dim]n {change.difference.n}{', paired' if change.paired else ''}[/]"
        if isinstance(change.difference, Value)
        else "",
        "" if change.q is None else short(change.q, digits=3),
    )


def _cell(value: Value | Failure, *, sign: bool = False) -> str:
    if isinstance(value, Failure):
        return f"[red]failed[/]\n[dim]{plain(value.stage)}[/]"
    low, high = (short(edge, digits=3, sign=sign) for edge in (value.low, value.high))
    return f"{short(value.value, digits=3, sign=sign)}\n[dim]{low} to {high}[/]"


def _cut(text: str) -> str:
    return plain(text[:LONGEST] + ("…" if len(text) > LONGEST else "")) or "none"
