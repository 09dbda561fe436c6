"""The page of a suite's run: how its tasks ended, and their metrics with intervals; and the pages of all kinds of runs by their kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyzers.whole_files import replaced
from evals.metrics import Metric, metrics_of
from evals.results import Value
from evals.run_folder import read_results
from evals.suites import SuiteResults
from explicate.audit_page import write_audit_page
from explicate.confidence_page import write_confidence_page
from explicate.pages import environment, trusted
from explicate.report import write_report
from explicate.running import short
from explicate.task_output import visible_json


def draw_page(kind: str, folder: Path) -> Path:
    """Draw report.html into a run folder of that kind, and return its path."""
    writers = {"label": write_report, "audit": write_audit_page, "confidence": write_confidence_page, "suite": write_suite_page}
    return writers[kind](folder)


def write_suite_page(folder: Path) -> Path:
    """Draw report.html of a suite's run from its results and those of its tasks."""
    results = read_results(folder, SuiteResults)
    page = (
        environment()
        .get_template("suite.html")
        .render(
            css=trusted("style.css"),
            name=results.name,
            started=results.started,
            finished=results.finished,
            tasks=[task.model_dump() | {"metrics": _metrics(metrics)} for task, metrics in by_task(results, folder)],
            cost=f"{results.calls.made:,} calls made by the command that wrote these results, {results.calls.cached:,} from the cache; "
            f"{results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
            + (f", not counting {', '.join(results.unpriced)}, whose price is not known" if results.unpriced else ""),
            manifest=visible_json(results.manifest),
        )
    )
    path = folder / "report.html"
    with replaced(path) as temporary:
        temporary.write_text(str(page), encoding="utf-8")
    return path


def by_task(results: SuiteResults, folder: Path) -> list[tuple[Any, list[Metric]]]:
    """Every task of a suite with its metrics, those first that have a better direction."""
    found = metrics_of(folder)
    return [(task, sorted((one for one in found if one.task == task.name), key=lambda one: one.better == "")) for task in results.tasks]


def _metrics(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    return [
        {
            "name": metric.name.replace("_", " "),
            "of": metric.of,
            "better": metric.better,
            "n_failed": metric.n_failed,
            "value": short(metric.value.value, digits=3) if isinstance(metric.value, Value) else None,
            "interval": f"{short(metric.value.low, digits=3)} to {short(metric.value.high, digits=3)}"
            if isinstance(metric.value, Value)
            else metric.value.reason,
            "n": metric.value.n if isinstance(metric.value, Value) else 0,
        }
        for metric in metrics
    ]
