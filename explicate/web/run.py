"""One run: its metrics with their intervals and trends, whether it is worse than its baseline, where its numbers come from, its report."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from evals.database import Database, MetricRow, RunRow
from evals.results import Failure, Value
from explicate.headlines import headlines
from explicate.shaded_words import visible
from explicate.web import naming, recent
from explicate.web.answers import OneRunAnswer, of_metric, of_run
from explicate.web.rendering import Run, Store, page
from explicate.web.runs import ALARMS, LAST, TILES, tile
from explicate.web.trends import flat

router = APIRouter()

REPORT = "report.html"
PARTS = 200
"""Tasks of a suite that are listed."""
_LONG = 400
"""Of a fact of provenance; the whole is in the manifest."""
_FACTS = 300
"""Lines of provenance at most."""
_REPORT_POLICY = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
"""A report brings its styles and its one script along, and may be of a folder that came from elsewhere: a browser gives it no origin, so
that it cannot read these pages."""
PAGES = {"label": ("sites", "All sites"), "audit": ("items", "Items"), "confidence": ("reliability", "Reliability diagram")}
"""By kind of run: its further page."""


@router.get("/runs/{run_id}", response_class=HTMLResponse, include_in_schema=False)
def run_page(request: Request, store: Store, run: Run) -> HTMLResponse:
    """Everything that the database knows of a run."""
    metrics = store.metrics(run.id)
    keys = {(each.task, each.name, each.of) for each in metrics}
    history = recent.trends(store, run.series, keys, LAST, until=run)
    before = baseline_of(store, run)
    beside = {(each.task, each.name, each.of): each.value for each in store.metrics(before.id)} if before is not None else {}
    tiles = [
        tile(run.series, each, history.get((each.task, each.name, each.of), []), beside.get((each.task, each.name, each.of)))
        for each in metrics
    ]
    alarming = {each.key for each in recent.alarms(store, ALARMS) if each.series == run.series and each.last_run == run.id}
    leading = headlines(metrics, TILES, alarming)
    parts = store.runs(parent=run.id, limit=PARTS).rows if run.kind == "suite" else []
    return page(
        request,
        "run.html",
        title=visible(run.name),
        run=run,
        facts=_facts(run),
        leading=[tiles[metrics.index(each)] | {"alarming": (each.task, each.name, each.of) in alarming} for each in leading],
        groups=_groups(metrics, tiles),
        n_failed=sum(isinstance(each.value, Failure) for each in metrics),
        parts=[{"part": each, "name": visible(each.name), "model": visible(each.model), "page": PAGES.get(each.kind)} for each in parts],
        parent=store.run(run.parent) if run.parent is not None else None,
        before=before,
        before_when=naming.moment(before.finished) if before is not None else "",
        further=PAGES.get(run.kind),
        report=_report(run) is not None,
        provenance=[(visible(name), visible(text[:_LONG])) for name, text in flat(run.provenance).items()][:_FACTS],
    )


@router.get("/runs/{run_id}/report", response_class=HTMLResponse, include_in_schema=False)
def report(run: Run) -> Response:
    """The static report, from the folder that the database has for the run."""
    found = _report(run)
    if found is None:
        raise HTTPException(404, "This run has no report, or its folder is gone; `explicate report RUN` draws it.")
    return FileResponse(found, media_type="text/html; charset=utf-8", headers={"content-security-policy": _REPORT_POLICY})


@router.get("/api/runs/{run_id}", tags=["runs"])
def run_json(store: Store, run: Run) -> OneRunAnswer:
    """A run with its metrics, in the order of its results."""
    before = baseline_of(store, run)
    return OneRunAnswer(
        run=of_run(run), metrics=[of_metric(each) for each in store.metrics(run.id)], baseline=before.id if before is not None else None
    )


def baseline_of(store: Database, run: RunRow) -> RunRow | None:
    """The run that this one's series is held against; None where there is none, and for that run itself."""
    found = store.baseline(run.series)
    return None if found is None or found == run.id else store.run(found)


def _report(run: RunRow) -> Path | None:
    """The report's file; None where there is none, or it lies outside its folder."""
    folder = Path(run.folder)
    try:
        found = (folder / REPORT).resolve(strict=True)
        inside = found.is_relative_to(folder.resolve(strict=True))
    except OSError:
        return None
    return found if inside and found.is_file() else None


def _facts(run: RunRow) -> list[tuple[str, str]]:
    took = (run.finished - run.started).total_seconds() if run.started is not None else None
    facts = [
        ("finished (UTC)", naming.moment(run.finished)),
        (
            "took",
            ""
            if took is None or took < 0
            else f"{took / 3600:.1f} h"
            if took >= 5400
            else f"{took / 60:.0f} min"
            if took >= 90
            else f"{took:.0f} s",
        ),
        ("model", visible(run.model)),
        ("calls made", "" if run.calls is None else f"{run.calls:,}"),
        ("tokens", "" if run.tokens is None else f"{run.tokens:,}"),
        ("USD", "" if run.usd is None else f"{run.usd:.2f}"),
        ("code", visible(run.code or "")),
    ]
    return [(name, text) for name, text in facts if text]


def _groups(metrics: list[MetricRow], tiles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By task, in the order of the results."""
    found: dict[str, list[dict[str, Any]]] = {}
    for metric, drawn in zip(metrics, tiles, strict=True):
        value = metric.value
        row = drawn | {"n": f"{value.n:,}" if isinstance(value, Value) else "", "n_failed": metric.n_failed or ""}
        found.setdefault(metric.task, []).append(row)
    return [{"task": visible(task), "rows": rows} for task, rows in found.items()]
