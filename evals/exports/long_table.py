"""Every number of a run as one row: those of the run, then those of its items."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.exports.items import Score, items_of_run
from evals.metrics.folder import kind_of, metrics_of, tasks_of
from evals.results import Failure, Value

COLUMNS = ("run", "task", "kind", "item", "text", "name", "of", "value", "low", "high", "n", "n_failed", "failure")
"""`kind` is metric or item; `item` and `text` are empty for a metric. `value` is empty exactly where `failure` says why."""
NUMBERS = ("value", "low", "high")
COUNTS = ("n", "n_failed")


def long_table(run: Path) -> Iterator[dict[str, Any]]:
    """Rows of COLUMNS; raises RunFolderError where the folder is no whole run."""
    name = run.absolute().name
    for metric in metrics_of(run):
        head = {"run": name, "task": metric.task, "kind": "metric", "item": "", "text": "", "name": metric.name, "of": metric.of}
        yield {**head, **_cells(metric.value), "n_failed": metric.n_failed}
    for task, folder in tasks_of(run):
        for item in items_of_run(folder, kind_of(folder)):
            head = {"run": name, "task": task, "kind": "item", "item": item.key, "text": whole(item.text)}
            for of, scores in item.scores.items():
                for score, value in scores.items():
                    yield {**head, "name": score, "of": of, **_cells(value), "n_failed": None}


def whole(text: str) -> str:
    """Without halves of characters, which no file of text can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _cells(value: Score) -> dict[str, Any]:
    if isinstance(value, Failure):
        return {"value": None, "low": None, "high": None, "n": None, "failure": whole(f"{value.stage}: {value.reason}")}
    if isinstance(value, Value):
        return {"value": value.value, "low": value.low, "high": value.high, "n": value.n, "failure": None}
    return {"value": value, "low": None, "high": None, "n": None, "failure": None}
