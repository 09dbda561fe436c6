"""What `explicate probe truth` prints beside what every probe does, and what a saved detector says of statements."""

from pathlib import Path
from typing import TYPE_CHECKING

from evals.probes.truth_results import Causal, TruthProbed, TruthScored
from explicate import truth_words
from explicate.probe_words import interval, told

if TYPE_CHECKING:
    from rich.console import Console


def show_truth(found: TruthProbed, out: Path | None, saved: Path | None = None) -> None:
    """What every probe prints, then topics, detectors, what carries over, calibration and the causal check."""
    from rich.console import Console

    from explicate.probe_table import show_probed
    from explicate.running import plain

    show_probed(found, out)
    console = Console(emoji=False)
    _grid(console, truth_words.topics(found))
    _grid(console, truth_words.detectors(found))
    if len(found.topics) > 1:
        names = truth_words.short_names([topic.name for topic in found.topics])
        cells = {(cell.train, cell.test): cell.auroc for cell in found.transfer}
        rows: list[truth_words.Row] = [(shown, *(_short(cells[name, other]) for other in names)) for name, shown in names.items()]
        _grid(console, (("trained on, tested on", *names.values()), rows))
    _grid(console, truth_words.also(found))
    if found.calibration:
        console.print("calibration: " + "; ".join(f"{plain(name)} {plain(told(value))}" for name, value in found.calibration.items()))
    if (says := truth_words.causal_says(found.causal)) is not None:
        console.print(plain(says))
    if isinstance(found.causal, Causal):
        _grid(console, truth_words.causal(found.causal))
    if saved is not None:
        console.print(f"Detector: {plain(str(saved))}\nScore with: --load {plain(str(saved))} --score STATEMENT", soft_wrap=True)


def show_scored(found: TruthScored) -> None:
    """Each statement with its probability, and how often the detector is wrong."""
    from rich.console import Console

    from explicate.running import plain

    console = Console(emoji=False)
    rows: list[truth_words.Row] = []
    for each in found.scored:
        how = f"outside: farther than {each.farther_than:.0%} of them" if each.outside else f"within {each.farther_than:.0%}"
        if each.outside and each.farther_than_left_out is not None:
            how += f"; than {each.farther_than_left_out:.0%} of left-out topics"
        rows.append((each.statement, "true" if each.verdict else "false", f"{each.probability:.2f}", how))
    _grid(console, (("statement", "verdict", "probability of truth", "training statements"), rows))
    what = (
        "topics that it was not trained on"
        if found.left_out == "topic"
        else "the topics that it was trained on, so that new ones may have more"
    )
    console.print(f"Share of wrong verdicts on statements of {what}: {plain(interval(found.error))}.")
    console.print(f"[dim]{plain(found.detector)} at layer {found.layer}, trained on {plain(', '.join(found.topics))}[/]")
    if any(each.outside for each in found.scored):
        console.print("[yellow]What lies outside is unlike what the detector was trained on: its verdict there has no known error rate.[/]")


def _short(value: object) -> str:
    from evals.results import Value

    return f"{value.value:.2f}" if isinstance(value, Value) else "none"


def _grid(console: "Console", grid: truth_words.Grid) -> None:
    from rich import box
    from rich.table import Table

    from explicate.running import plain

    heads, rows = grid
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(plain(head), overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table)
