"""What `explicate confidence` does and prints: a line for every way of asking, sampling and aggregating, and what deletion did."""

from pathlib import Path
from typing import TYPE_CHECKING

from explicate.progress import bars
from explicate.running import await_, default_out, plain, say, show_json

if TYPE_CHECKING:
    from evals.confidence.config import ConfidenceConfig
    from evals.confidence.results import ConfidenceResults, ConfidenceRow, Deletion
    from evals.label_config import Limits
    from evals.results import Failure, Value
    from evals.tasks.items import Items
    from evals.tasks.task import Task

COLUMNS = {
    "accuracy": "accuracy",
    "mean_confidence": "confidence",
    "ece": "ECE ↓",
    "auroc": "AUROC ↑",
    "brier": "Brier ↓",
    "aurc": "AURC ↓",
}
"""Measures as a person reads them; the arrow says which way is better."""


def title(results: "ConfidenceResults") -> str:
    """What the measurement asks."""
    return f"Does the confidence hold that {results.manifest['config']['model']} states?"


def run_confidence(config: "ConfidenceConfig", task: "Task", items: "Items", limits: "Limits", out: Path | None, *, json: bool) -> None:
    """Measure, write the report, and print the table (or one JSON object); what is there is shown also when a limit stopped the run."""
    from evals.confidence.run import measure_confidence
    from evals.each import Stopped
    from explicate.confidence_page import write_confidence_page

    folder = out or default_out(f"confidence-{config.model.partition(':')[2] or config.model}", config)
    stopped: Stopped[ConfidenceResults] | None = None
    with bars() as report:
        try:
            results = await_(measure_confidence(config, folder, task, items, limits=limits, report=report, tell=say))
        except Stopped as limit:
            stopped, results = limit, limit.results
    page = write_confidence_page(folder)
    if json:
        show_json(results.model_dump(mode="json"))
    else:
        show_confidence(results, page)
    if stopped is not None:
        raise stopped


def show_confidence(results: "ConfidenceResults", page: Path) -> None:
    """The table, what to mind, and where to look."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=plain(title(results)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for heading in ("asked\n[dim]sampled\naggregated", *COLUMNS.values()):
        table.add_column(heading, no_wrap=True)
    for row in results.rows:
        how = f"{plain(row.prompting)}\n[dim]{plain(row.sampling)}\n{plain(row.aggregate)}[/]"
        table.add_row(how + ("\n[red]void[/]" if row.void else ""), *(_cell(row, name) for name in COLUMNS))
        table.add_section()
    console.print(table)
    console.print(
        "floor: the ECE of perfectly calibrated answers with these confidences, which is above 0 because items are few; "
        "an AUROC of .5 cannot tell right from wrong.",
        style="dim",
    )
    if results.deletion is not None:
        console.print(plain(deletion_sentence(results.deletion)))
    for row in results.rows:
        if row.n_failed or row.n_replies_failed:
            console.print(plain(failures_of(row)) + (" [red]Void: not to be used.[/]" if row.void else ""))
    if results.n_without_gold:
        console.print(f"{results.n_without_gold} items have no true answer and were not asked about.")
    console.print(
        f"{results.n_items} items; {results.calls.made:,} LLM calls made, {results.calls.cached:,} from the cache, "
        f"{results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
        + (f", not counting {plain(', '.join(results.unpriced))}, whose price is not known" if results.unpriced else "")
    )
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def name_of(row: "ConfidenceRow") -> str:
    """How the figures of a row were had."""
    return row.prompting if row.sampling == "none" else f"{row.prompting}, {row.sampling}, {row.aggregate}"


def failures_of(row: "ConfidenceRow") -> str:
    """How much of a row failed, and the commonest reason."""
    first = max(row.missing, key=lambda each: each.n, default=None)
    return (
        f"{name_of(row)}: {row.n_failed} of {row.n + row.n_failed} items and {row.n_replies_failed} of {row.n_replies} replies failed"
        + (f" (most often: {first.stage}, {first.reason[:160]})" if first is not None else "")
        + "."
    )


def deletion_sentence(found: "Deletion") -> str:
    """What deleting decisive words does to stated confidence."""
    figures = found.figures
    if not found.n:
        why = max(found.missing, key=lambda each: each.n)
        said = f"{found.n_failed} of {found.n_failed} items failed, most often ({why.n}): {why.stage}, {why.reason}"
        return f"Confidence under deletion could not be measured: {said}."
    said = (
        f"Confidence under deletion, asked by {found.prompting}: what the model gives to its answer falls by {_figure(figures['fall'])} "
        f"without the words that it calls decisive, and by {_figure(figures['fall_random'])} without as many random words. Difference "
        f"{_figure(figures['difference'])}"
        + ("" if found.p is None else f", p {found.p:.3f}")
        + f", over {found.n} items ({found.n_failed} failed). Answers changed: {_figure(figures['changed'])} and "
        f"{_figure(figures['changed_random'])}."
    )
    return said + (" Void: more than a fifth of the items failed." if found.void else "")


def _figure(value: "Value | Failure") -> str:
    from evals.results import Failure

    return "none" if isinstance(value, Failure) else f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _cell(row: "ConfidenceRow", name: str) -> str:
    """A measure with its interval; for ECE with its floor."""
    from evals.results import Value

    value, floor = row.measures[name], row.measures["ece_floor"]
    if not isinstance(value, Value):
        return "[red]failed"
    shown = f"{value.value:.2f}\n[dim]{_short(value.low)}–{_short(value.high)}"
    return f"{shown}\nfloor {_short(floor.value)}" if name == "ece" and isinstance(floor, Value) else shown


def _short(share: float) -> str:
    return f"{round(share, 2) + 0.0:.2f}".replace("0.", ".", 1)
