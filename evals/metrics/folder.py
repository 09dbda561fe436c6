"""The metrics of a run folder of any kind; of a suite those of its tasks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

from pydantic import BaseModel

from analyzers.errors import RunFolderError
from evals.metrics.metric import Items, Key, Metric
from evals.results import Value
from evals.run_folder import read_items, read_json, read_results

Kind = Literal["label", "audit", "confidence", "suite"]

Line = TypeVar("Line", bound=BaseModel)

SAME = 1e-6
"""How far the statistic of items may lie from the number that it is to be, as a share of it or of 1: what numbers lose on their way."""
_BESIDE = {"label": "explanations.jsonl", "audit": "items.jsonl", "confidence": "items.jsonl"}
"""By kind: what a whole folder has beside manifest.json and results.json."""


def kind_of(folder: Path) -> Kind:
    """What a run folder is of; raises RunFolderError where it is no run folder, or one without metrics."""
    kind = read_json(folder / "manifest.json").get("command")
    # What was imported has the layout of a labelling run.
    kind = "label" if kind == "import" else kind
    if kind not in get_args(Kind):
        raise RunFolderError(f"{str(folder)!r} is a run of {kind!r}, which has no metrics; give one of {', '.join(get_args(Kind))}")
    return cast(Kind, kind)


def metrics_of(folder: Path) -> list[Metric]:
    """In the order of the run's results; raises RunFolderError where the folder is none, or not whole."""
    return [metric for name, task in tasks_of(folder) for metric in _metrics(task, name)]


def items_of(folder: Path) -> dict[Key, Items]:
    """What can be paired with another run: of every metric whose number the items in the folder give again.

    Raises RunFolderError where the folder is none, or not whole.
    """
    return {key: items for name, task in tasks_of(folder) for key, items in _items(task, name)}


def tasks_of(folder: Path) -> list[tuple[str, Path]]:
    """The folders with figures: of a suite those of its tasks that were run, by name; else the folder itself, without a name."""
    if kind_of(folder) != "suite":
        return [("", folder)]
    found = []
    # Not by the model of a suite's results, whose package needs this one.
    for task in read_json(folder / "results.json").get("tasks", ()):
        if not isinstance(task, dict) or not {"name", "folder", "status"} <= task.keys():
            raise RunFolderError(f"{str(folder / 'results.json')!r} is damaged: a task without name, folder and status")
        path = folder / str(task["folder"])
        if not path.resolve().is_relative_to(folder.resolve()):
            raise RunFolderError(f"{str(folder)!r} is damaged: its task {task['name']!r} lies outside it")
        if task["status"] == "done" or (path / "results.json").exists():
            found.append((str(task["name"]), path))
    return found


def _metrics(folder: Path, task: str) -> Iterator[Metric]:
    kind = kind_of(folder)
    _check_whole(folder, kind)
    if kind == "label":
        from evals.metrics import label
        from evals.results import RunResults

        return label.metrics(read_results(folder, RunResults), task)
    if kind == "audit":
        from evals.audit.results import AuditResults
        from evals.metrics import audit

        return audit.metrics(read_results(folder, AuditResults), task)
    from evals.confidence.results import ConfidenceResults
    from evals.metrics import confidence

    return confidence.metrics(read_results(folder, ConfidenceResults), task)


def _items(folder: Path, task: str) -> Iterator[tuple[Key, Items]]:
    values = {metric.key: metric.value for metric in _metrics(folder, task)}
    for key, items in _candidates(folder, task).items():
        stated, found = values.get(key), items.value if items.keys else None
        if isinstance(stated, Value) and found is not None and abs(found - stated.value) <= SAME * max(1.0, abs(stated.value)):
            yield key, items


def _candidates(folder: Path, task: str) -> dict[Key, Items]:
    kind = kind_of(folder)
    if kind == "label":
        from evals.metrics import label
        from evals.results import RunResults

        return label.items(read_results(folder, RunResults), task)
    if kind == "audit":
        from evals.audit.results import AuditItem, AuditResults
        from evals.metrics import audit

        return audit.items(read_results(folder, AuditResults), read_items(folder, AuditItem), task)
    from evals.confidence.results import ConfidenceItem, ConfidenceResults
    from evals.metrics import confidence

    return confidence.items(read_results(folder, ConfidenceResults), read_items(folder, ConfidenceItem), task)


def _check_whole(folder: Path, kind: Kind) -> None:
    """Raise RunFolderError for a folder of which a part is gone; what results.json lacks is told by who reads it."""
    beside = _BESIDE.get(kind)
    if beside is not None and (folder / "results.json").exists() and not (folder / beside).is_file():
        raise RunFolderError(f"{str(folder)!r} is not whole: it has no {beside}; run the command that made the run again")
