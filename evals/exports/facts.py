"""What a run folder says of itself, as both trackers of experiments want it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals.metrics.folder import Kind, kind_of, metrics_of, tasks_of
from evals.metrics.metric import Metric
from evals.run_folder import read_json


@dataclass(frozen=True)
class Facts:
    """One run folder that is no suite's."""

    name: str
    """Of the folder, with that of its suite before it."""
    task: str
    """Name within the suite; empty for a run of its own."""
    kind: Kind
    folder: Path
    model: str
    """The model that is studied, as the command took it."""
    manifest: Mapping[str, Any]
    metrics: list[Metric]
    finished: datetime
    """When results.json was written."""
    digest: str
    """Of results.json: the same run is the same wherever its folder is."""


def facts_of(run: Path) -> Iterator[Facts]:
    """Of a suite every task that has results, else the run itself; raises RunFolderError where the folder is no whole run."""
    name = run.absolute().name
    for task, folder in tasks_of(run):
        results = folder / "results.json"
        manifest = read_json(folder / "manifest.json")
        metrics = metrics_of(folder)
        config = manifest.get("config", {})
        yield Facts(
            name=f"{name}-{task}" if task else name,
            task=task,
            kind=kind_of(folder),
            folder=folder,
            model=str(config.get("subject") or config.get("model") or "unknown"),
            manifest=manifest,
            metrics=metrics,
            finished=datetime.fromtimestamp(results.stat().st_mtime, UTC),
            digest=hashlib.sha256(results.read_bytes()).hexdigest(),
        )


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots and texts, for whom no tree may be given."""
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif isinstance(value, list):
            yield name, ",".join(map(str, value))
        else:
            yield name, "" if value is None else str(value)
