"""A run folder as rows of the tables: read whole, so that it is in the database whole or not at all."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analyzers.errors import RunFolderError, SubjectError
from analyzers.sites import Site
from evals.database.folders import check_whole
from evals.database.rows import run_id
from evals.database.texts import kept, searched
from evals.database.times import now
from evals.metrics import Metric, metrics_of
from evals.results import Failure, RunResults, SiteResult, Value, headline
from evals.run_folder import read_json, read_results
from evals.suites.results import SuiteResults

_NOT_PROVENANCE = {"format", "command", "config", "started"}


@dataclass(frozen=True)
class Suite:
    """The suite's run that another run is a task of."""

    id: str
    name: str
    """Of the suite."""
    task: str
    status: str
    """Of the task."""


@dataclass
class Imported:
    """The rows of one run, by table."""

    run: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    sites: list[dict[str, Any]] = field(default_factory=list)
    artefacts: list[dict[str, Any]] = field(default_factory=list)


def read_run(folder: Path, within: Suite | None = None) -> list[Imported]:
    """The rows of a run folder; of a suite's run also those of its tasks, after its own.

    within: the suite's run that it is a task of. Raises RunFolderError for what is no run folder, did not end, or is half deleted.
    """
    place = folder.resolve()
    kind, manifest = check_whole(place)
    if kind == "suite":
        return _suite(place, manifest)
    results = read_json(place / "results.json")
    status = within.status if within is not None else "stopped" if _stopped(results) else "done"
    finished = datetime.fromtimestamp((place / "results.json").stat().st_mtime, UTC)
    found = Imported(_run(place, kind, manifest, results, status=status, finished=finished, models=[_model(manifest)], within=within))
    _add_details(found, place)
    if kind == "label":
        foreign = manifest["command"] == "import"
        sites = enumerate(read_results(place, RunResults).sites)
        found.sites = [_site(found.run["id"], at, site, foreign=foreign) for at, site in sites]
    return [found]


def _suite(place: Path, manifest: Mapping[str, Any]) -> list[Imported]:
    results = read_results(place, SuiteResults)
    own = run_id(place)
    tasks: list[Imported] = []
    for task in results.tasks:
        folder = (place / task.folder).resolve()
        if not folder.is_relative_to(place):
            raise RunFolderError(f"{str(place / 'results.json')!r} is damaged: the folder of its task {task.name!r} is not within it")
        # Of a task that was not done there may be something or nothing.
        if task.status == "done" or (folder / "results.json").exists():
            tasks += read_run(folder, Suite(own, results.name, task.name, task.status))
    statuses = {task.status for task in results.tasks}
    found = Imported(
        _run(
            place,
            "suite",
            manifest,
            {**results.model_dump(mode="json"), "void": any(task.void for task in results.tasks)},
            status=next((status for status in ("failed", "stopped") if status in statuses), "done"),
            started=_moment(results.started, place),
            finished=_moment(results.finished, place),
            models=[task.run["model"] for task in tasks],
            name=results.name,
        )
    )
    _add_details(found, place)
    return [found, *tasks]


def _moment(text: str, place: Path) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RunFolderError(f"{str(place / 'results.json')!r} is damaged: {text!r} is no time with a zone")
    return moment.astimezone(UTC)


def _run(
    place: Path,
    kind: str,
    manifest: Mapping[str, Any],
    results: Mapping[str, Any],
    *,
    status: str,
    finished: datetime,
    models: list[str],
    started: datetime | None = None,
    within: Suite | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """The row of the table run."""
    folder = str(place)
    if kept(folder) != folder:
        raise RunFolderError(f"{folder!r} cannot be in the database: its name is not UTF-8; rename it")
    suite = within.name if within is not None else name or ""
    own = within.task if within is not None else name or place.name
    model = ", ".join(dict.fromkeys(model for model in models if model))
    calls, tokens, usd = results.get("calls"), results.get("tokens"), results.get("usd")
    return {
        "id": run_id(place),
        "parent": None if within is None else within.id,
        "folder": folder,
        "kind": kind,
        "name": kept(own),
        "suite": kept(suite),
        "series": kept(f"{suite}/{own}" if within is not None else suite or own),
        "model": kept(model),
        "status": status,
        "void": bool(results.get("void")),
        "started": started,
        "finished": finished,
        "code": manifest.get("code"),
        "version": manifest.get("version"),
        "calls": calls["made"] if calls is not None else None,
        "tokens": tokens["prompt"] + tokens["completion"] if tokens is not None else None,
        "usd": usd,
        "provenance": {key: value for key, value in manifest.items() if key not in _NOT_PROVENANCE},
        "searched": searched(own, suite, kind, model, folder),
        "indexed_at": now(),
    }


def _model(manifest: Mapping[str, Any]) -> str:
    """Name of the model under study; empty for recorded answers."""
    config = manifest.get("config")
    known = [manifest.get("subject"), manifest.get("model")]
    names = [each.get("name") for each in known if isinstance(each, dict)]
    names += [config.get(key) for key in ("subject", "model")] if isinstance(config, dict) else []
    return next((name for name in names if isinstance(name, str) and name), "")


def _stopped(results: Any) -> bool:
    """Whether a limit kept something from being done: failures of the stage `budget` say so, wherever they stand."""
    if isinstance(results, dict):
        return results.get("stage") == "budget" or any(_stopped(value) for key, value in results.items() if key != "manifest")
    return isinstance(results, list) and any(_stopped(value) for value in results)


def _add_details(found: Imported, place: Path) -> None:
    """The rows of metric and artefact."""
    own = found.run["id"]
    found.metrics = [_metric(own, at, metric) for at, metric in enumerate(metrics_of(place))]
    times = Counter((row["task"], row["name"], row["of"]) for row in found.metrics)
    twice = next((" ".join(part for part in key if part) for key, count in times.items() if count > 1), None)
    if twice is not None:
        raise RunFolderError(f"{str(place)!r} has the metric {twice!r} twice, and neither can be told from the other")
    found.artefacts = [{"run_id": own, "name": kept(name), "path": kept(str(place / name))} for name in _artefacts(place)]


def _artefacts(place: Path) -> Iterator[str]:
    """Paths within a run folder, of its own files, not those of its tasks."""
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        if path.is_file() and not path.is_symlink() and name.parts[0] != "tasks" and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()


def _metric(own: str, position: int, metric: Metric) -> dict[str, Any]:
    value = metric.value
    row = {"run_id": own, "task": kept(metric.task), "name": kept(metric.name), "of": kept(metric.of), "position": position}
    row |= {"n_failed": metric.n_failed, "better": metric.better}
    if isinstance(value, Value):
        return row | {"value": value.value, "low": value.low, "high": value.high, "n": value.n, "stage": None, "failure": None}
    failed = {"stage": kept(value.stage), "failure": kept(value.reason)}
    return row | {"value": None, "low": None, "high": None, "n": None, **failed}


def _site(own: str, position: int, site: SiteResult, *, foreign: bool) -> dict[str, Any]:
    """foreign: of a run that was imported, whose sites have the names of another tool; the first number in one is taken for the layer."""
    score = site.scores.get(headline(site.scores))
    try:
        layer = Site.parse(site.site).layer
    except SubjectError as error:
        if not foreign:
            raise RunFolderError(f"a site of the run is damaged: {error}") from None
        number = re.search(r"[0-9]{1,9}", site.site)
        layer = 0 if number is None else int(number[0])
    reasons = [failed.reason for failed in site.failures[-1:] if site.explanation is None or score is None]
    reasons += [value.reason for value in (score, site.lift) if isinstance(value, Failure)]
    return {
        "run_id": own,
        "position": position,
        "site": site.site,
        "polarity": site.polarity,
        "layer": layer,
        "explanation": None if site.explanation is None else kept(site.explanation),
        "score": _number(score),
        "lift": _number(site.lift),
        "q_value": site.q_value,
        "failed": kept(reasons[0]) if reasons else None,
        "searched": searched(f"{site.site}{site.polarity}", site.explanation),
    }


def _number(value: Value | Failure | None) -> float | None:
    return value.value if isinstance(value, Value) else None
