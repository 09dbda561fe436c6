"""What the terminal shows of a suite's run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.errors import Failed
from evals.alerts.wording import sentence
from evals.metrics import Metric
from evals.results import Failure, Value
from evals.suites import SuiteResults, TaskOutcome
from explicate.headlines import headlines
from explicate.running import plain, short
from explicate.suite_page import by_task

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from evals.suites.record import Recorded

SHOWN = 6
"""Metrics a task; all are on the page."""


def show_suite(results: SuiteResults, folder: Path, page: Path, recorded: "Recorded | None") -> None:
    """How the tasks ended, with the metrics that say most, what changed from the baseline, and where to look."""
    from rich.console import Console

    console = Console()
    console.print(f"Suite {plain(results.name)}", style="italic")
    for task, metrics in by_task(results, folder):
        console.print(f"\n[bold]{plain(task.name)}[/] ({task.kind}): {_ended(task)}")
        found = [metric for metric in metrics if isinstance(metric.value, Value)]
        if found:
            console.print(_table(headlines(found, SHOWN)))
        if len(found) < len(metrics):
            console.print(f"{len(metrics) - len(found)} of {len(metrics)} metrics failed; {_commonest_reason(metrics)}", style="dim")
    console.print(
        f"\n{results.n_done} of {len(results.tasks)} tasks done; {results.calls.made:,} calls made, "
        f"{results.calls.cached:,} from the cache, {results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
        + (f", not counting {plain(', '.join(results.unpriced))}, whose price is not known" if results.unpriced else "")
    )
    if recorded is not None:
        _show_recorded(console, recorded)
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def _ended(task: TaskOutcome) -> str:
    if task.failure is not None:
        return f"[red]{task.status}[/], {plain(task.failure.reason)}"
    return "[red]void[/], too much failed: its figures are not to be used" if task.void else task.status


def _table(metrics: Sequence[Metric]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("value", "interval", "n"):
        table.add_column(name, no_wrap=True)
    table.add_column("metric", overflow="fold")
    for metric in metrics:
        assert isinstance(metric.value, Value)
        interval = f"[dim]{short(metric.value.low, digits=3)} to {short(metric.value.high, digits=3)}"
        of = f"of {metric.value.n}" + (f", {metric.n_failed} failed" if metric.n_failed else "")
        what = f"{plain(metric.name.replace('_', ' '))} [dim]{plain(metric.of)}"
        table.add_row(short(metric.value.value, digits=3), interval, of, what)
    return table


def _commonest_reason(metrics: Sequence[Metric]) -> str:
    reasons = Counter(metric.value.reason for metric in metrics if isinstance(metric.value, Failure))
    return plain(reasons.most_common(1)[0][0])


def _show_recorded(console: "Console", recorded: "Recorded") -> None:
    if recorded.problem is not None:
        console.print(f"[red]Run {recorded.run_id}[/] {plain(recorded.problem)}", soft_wrap=True)
        return
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
