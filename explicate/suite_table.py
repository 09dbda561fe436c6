"""What the terminal shows of a suite's run."""

from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.errors import Failed
from evals.alerts.wording import sentence
from evals.results import Value
from evals.suites import SuiteResults
from explicate.running import plain, short
from explicate.suite_page import by_task
from explicate.task_output import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from evals.suites.record import Recorded

SHOWN = 6
"""Metrics a task; all are on the page."""


def show_suite(results: SuiteResults, folder: Path, page: Path, recorded: "Recorded | None") -> None:
    """How the tasks ended with their first metrics, what changed from the baseline, and where to look."""
    from rich.console import Console

    console = Console()
    table = new_table(f"Suite {results.name}", ("task", "ended", "metric", "of", "value", "95 % interval"))
    for task, metrics in by_task(results, folder):
        first = True
        for metric in metrics[:SHOWN]:
            head = (plain(task.name), task.status) if first else ("", "")
            if isinstance(metric.value, Value):
                cells = short(metric.value.value, digits=3), f"{short(metric.value.low, digits=3)} to {short(metric.value.high, digits=3)}"
            else:
                cells = "[red]failed", plain(metric.value.reason[:60])
            table.add_row(*head, plain(metric.name.replace("_", " ")), plain(metric.of), *cells)
            first = False
        if first:
            table.add_row(plain(task.name), f"[red]{task.status}" if task.status != "done" else task.status, "", "", "", "")
    console.print(table)
    for task in results.tasks:
        if task.failure is not None:
            console.print(f"[red]{plain(task.name)} {task.status}[/]: {plain(task.failure.reason)}")
    console.print(
        f"{results.n_done} of {len(results.tasks)} tasks done; {results.calls.made:,} calls made, {results.calls.cached:,} from the cache, "
        f"{results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
    )
    if recorded is not None:
        _show_recorded(console, recorded)
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def _show_recorded(console: "Console", recorded: "Recorded") -> None:
    if recorded.comparison is None:
        what = "it is the suite's baseline" if recorded.baseline else f"no baseline yet: explicate baseline set {recorded.run_id}"
        console.print(f"Run {recorded.run_id}; {what}", soft_wrap=True)
        return
    comparison = recorded.comparison
    found = [("regressed", comparison.regressed), ("improved", comparison.improved)]
    console.print(
        f"Run {recorded.run_id} beside baseline {recorded.baseline}: "
        + ", ".join(f"{len(changes)} {name}" for name, changes in found)
        + f" of {sum(change.watched for change in comparison.changes)} watched metrics; more: explicate compare {recorded.run_id}",
        soft_wrap=True,
    )
    for event in recorded.alerted.events:
        console.print(plain(sentence(event)), soft_wrap=True)
    for delivery in recorded.alerted.deliveries:
        told = f"not told by {delivery.stage}: {delivery.reason}" if isinstance(delivery, Failed) else f"{delivery.sink}: {delivery.to}"
        console.print(plain(told), soft_wrap=True)
