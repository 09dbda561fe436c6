"""Run the tasks of a suite one after the other, under one budget and with one reply cache, into one run folder.

A task that is done is not done again when the suite is run again into the same folder; one that failed or was stopped is.
"""

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from agents.budget import Budget, Forecast
from analyzers.errors import ExplicateError, LimitReached
from analyzers.progress import Report, quiet
from evals.audit.config import AuditConfig
from evals.audit.live import audit
from evals.calls import Foretold, budget_of, sharing
from evals.code_version import code_hash
from evals.confidence.config import ConfidenceConfig
from evals.confidence.run import measure_confidence
from evals.label import label
from evals.label_config import LabelConfig, Limits
from evals.metrics import metrics_of
from evals.results import Calls, Failure, Tokens
from evals.run_folder import RunFolder, read_json, write_json
from evals.suites.config import SuiteConfig, SuiteTask
from evals.suites.results import SuiteResults, TaskOutcome

OUTCOMES = "outcomes.json"
"""How the tasks that have ended ended, written after each."""
_OUTCOMES = TypeAdapter(dict[str, TaskOutcome])

Draw = Callable[[str, Path], Path]
"""Draws the page of a run folder of a kind, and returns where it is."""


async def run_suite(
    suite: SuiteConfig, out: Path, *, report: Report = quiet, tell: Callable[[str], None], draw: Draw | None = None
) -> SuiteResults:
    """Run the suite into the run folder `out`, and return what its results.json holds.

    tell: called with lines to show the user: what is to be done, the forecast of all tasks, and each task's before its questions. A task
    that fails is an outcome, and the others go on. Raises ExplicateError where the folder is another run's or in use.
    """
    folder = RunFolder(out, "suite", suite.decides())
    budget = budget_of(suite.limits)
    with folder:
        folder.record({}, latest={"version": version("explicate"), "code": code_hash()})
        folder.record({"started": folder.manifest.get("started", _now())})
        outcomes = _read(out)
        tell(f"suite {suite.name}: {'; '.join(task.summary() for task in suite.tasks)}")
        open_ = [task for task in suite.tasks if not _done(outcomes.get(task.name), out)]
        for task in suite.tasks:
            if task not in open_:
                tell(f"{task.name}: done before")
        ended = await _forecast(open_, suite.limits, out, budget, report, tell)
        for number, task in enumerate(open_, 1):
            tell(f"{number}/{len(open_)} {task.name}: begins")
            outcome = ended.get(task.name) or await _run(task, suite.limits, out, budget, report, tell, draw)
            assert isinstance(outcome, TaskOutcome)
            if outcome.failure is not None:
                tell(f"{task.name} {outcome.status}: {outcome.failure.reason}")
            outcomes[task.name] = outcome
            write_json(out / OUTCOMES, {name: ended.model_dump(mode="json") for name, ended in outcomes.items()})
        spent = budget.spent
        results = SuiteResults(
            name=suite.name,
            tasks=[outcomes[task.name] for task in suite.tasks],
            started=folder.manifest["started"],
            finished=_now(),
            calls=Calls(made=spent.made, cached=spent.cached),
            tokens=Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens),
            usd=spent.usd,
            unpriced=_unpriced(out, outcomes.values()),
            alpha=suite.alpha,
            thresholds=suite.thresholds,
            manifest=dict(folder.manifest),
        )
        write_json(out / "results.json", results.model_dump(mode="json"))
    for pattern in _unused(suite, out):
        tell(f"the threshold {pattern!r} is of no metric that this run has")
    return results


def _unpriced(out: Path, outcomes: Iterable[TaskOutcome]) -> list[str]:
    found = [out / outcome.folder / "results.json" for outcome in outcomes]
    return sorted({name for path in found if path.exists() for name in read_json(path).get("unpriced", ())})


def _unused(suite: SuiteConfig, out: Path) -> list[str]:
    """Thresholds that fit no metric, as a misspelt one does."""
    names = {metric.name for metric in metrics_of(out)} if suite.thresholds else set()
    return [pattern for pattern in suite.thresholds if not fnmatch.filter(names, pattern)]


def next_folder(suite: SuiteConfig, runs: Path) -> Path:
    """The folder of a run of the same suite that did not end, or a new one named for the time."""
    for folder in sorted(runs.glob(f"suite-{suite.name}-*"), reverse=True):
        if _unfinished(folder, suite):
            return folder
    return runs / f"suite-{suite.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"


def _unfinished(folder: Path, suite: SuiteConfig) -> bool:
    if not (folder / "manifest.json").exists() or (folder / "results.json").exists():
        return False
    return bool(read_json(folder / "manifest.json").get("config") == suite.decides())


def _done(outcome: TaskOutcome | None, out: Path) -> bool:
    return outcome is not None and outcome.status == "done" and (out / outcome.folder / "results.json").exists()


async def _forecast(
    tasks: Sequence[SuiteTask], limits: Limits, out: Path, budget: Budget, report: Report, tell: Callable[[str], None]
) -> dict[str, TaskOutcome]:
    """Tell what all tasks will take at most, before the first question of any; those that cannot even be prepared, by name."""
    total, ended = Forecast(), dict[str, TaskOutcome]()
    for task in tasks:
        # Each task tells its own once more when it begins.
        found = await _run(task, limits, out, budget, report, lambda _: None, None, forecast_only=True)
        if isinstance(found, Forecast):
            total += found
        else:
            ended[task.name] = found
    if tasks:
        money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
        left_out = f"; {', '.join(ended)} cannot be run" if ended else ""
        tell(
            f"forecast of {len(tasks) - len(ended)} tasks: at most {total.calls:,} calls, {total.prompt_tokens:,} prompt and "
            f"{total.completion_tokens:,} completion tokens, {money}, less what is in the cache{left_out}"
        )
    return ended


async def _run(
    task: SuiteTask,
    limits: Limits,
    out: Path,
    budget: Budget,
    report: Report,
    tell: Callable[[str], None],
    draw: Draw | None,
    *,
    forecast_only: bool = False,
) -> TaskOutcome | Forecast:
    where = f"tasks/{task.name}"
    # The suite's budget holds the limits; a task has none of its own.
    free = limits.unlimited()
    ended: dict[str, Any] = {"status": "done", "failure": None}
    void = False
    try:
        with sharing(budget):
            void = await _asked(task, out / where, free, report, lambda line: tell(f"{task.name}: {line}"), forecast_only=forecast_only)
    except Foretold as told:
        return told.total
    except LimitReached as limit:
        ended = {"status": "stopped", "failure": Failure(stage="budget", reason=str(limit))}
    except Exception as error:  # noqa: BLE001
        # What one task dies of, such as a model that does not fit into memory, is no reason to lose the others.
        reason = str(error) if isinstance(error, ExplicateError) else f"{type(error).__name__}: {error}"
        ended = {"status": "failed", "failure": Failure(stage=task.kind, reason=reason)}
    page = None
    if draw is not None and (out / where / "results.json").exists():
        try:
            page = draw(task.kind, out / where).relative_to(out).as_posix()
        except ExplicateError as error:
            tell(f"{task.name}: its page cannot be drawn: {error}")
    return TaskOutcome(name=task.name, kind=task.kind, folder=where, void=void, report=page, **ended)


async def _asked(
    task: SuiteTask, folder: Path, limits: Limits, report: Report, tell: Callable[[str], None], *, forecast_only: bool
) -> bool:
    """Run one task; whether it is void."""
    config = task.config
    if isinstance(config, LabelConfig):
        labelled = await label(config, folder, limits=limits, report=report, tell=tell, forecast_only=forecast_only)
        if not labelled.leak_audit.passed:
            raise ExplicateError("the leak audit failed: scored text was shown to the explainer, so the scores are not to be used")
        return labelled.void
    assert task.asked is not None
    assert task.items is not None
    if isinstance(config, AuditConfig):
        audited = await audit(config, folder, task.asked, task.items, limits=limits, report=report, tell=tell, forecast_only=forecast_only)
        return audited.void
    assert isinstance(config, ConfidenceConfig)
    measured = await measure_confidence(
        config, folder, task.asked, task.items, limits=limits, report=report, tell=tell, forecast_only=forecast_only
    )
    return measured.void


def _read(out: Path) -> dict[str, TaskOutcome]:
    path = out / OUTCOMES
    return _OUTCOMES.validate_python(read_json(path)) if path.exists() else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
