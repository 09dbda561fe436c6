"""The history of one metric: what it was at every run, with its interval, and what changed in between."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from evals.database import MetricRow, RunRow
from evals.results import Failure, Value
from explicate.shaded_words import visible
from explicate.web import naming
from explicate.web.rendering import MAX_TEXT, Store, page
from explicate.web.trend_chart import CHART, trend

router = APIRouter()

LAST = 60
"""Runs of a history."""
MOST = 1000
"""Runs that a program may ask for."""
_NAMED = 4
"""Changes of provenance that are named at a run."""

Text = Annotated[str, Query(max_length=MAX_TEXT)]
Named = Annotated[str, Query(min_length=1, max_length=MAX_TEXT)]


class Point(BaseModel):
    """The metric at one run."""

    run: str
    finished: datetime
    value: Value | Failure
    n_failed: int
    changed: list[str]
    """What of its provenance is not as in the run before."""


class HistoryAnswer(BaseModel):
    """A metric over the runs of a series, oldest first."""

    group: str
    task: str
    name: str
    of: str
    points: list[Point]


@router.get("/trends", response_class=HTMLResponse, include_in_schema=False)
def trends_page(request: Request, store: Store, group: Named, name: Named, task: Text = "", of: Text = "") -> HTMLResponse:
    """The chart, and the same as a table."""
    found = _history(store.history(group, task, name, of, LAST))
    if not found:
        raise HTTPException(404, "There is no run with this metric.")
    base = store.baseline(group)
    known = {run.id: metric.value for run, metric in found}
    before = known.get(base) if base is not None else None
    if base is not None and before is None:
        before = next((each.value for each in store.metrics(base) if (each.task, each.name, each.of) == (task, name, of)), None)
    values = [metric.value for _, metric in found]
    changes = _changes([run for run, _ in found])
    latest = found[-1][1]
    return page(
        request,
        "trends.html",
        title=naming.title(name),
        group=group,
        task=visible(task),
        of=visible(of),
        arrow=naming.arrow(latest.better),
        better=latest.better,
        latest=naming.number(latest.value) if isinstance(latest.value, Value) else "",
        interval=naming.interval(latest.value) if isinstance(latest.value, Value) else "",
        said=naming.sentence(latest.value),
        drawn=trend(values, CHART, baseline=before if isinstance(before, Value) else None),
        labels=_labels([run for run, _ in found]),
        baseline=base or "",
        rows=[
            {
                "id": run.id,
                "name": visible(run.name),
                "finished": naming.moment(run.finished),
                "value": naming.number(metric.value) if isinstance(metric.value, Value) else "",
                "interval": naming.interval(metric.value) if isinstance(metric.value, Value) else "",
                "said": naming.sentence(metric.value),
                "n": f"{metric.value.n:,}" if isinstance(metric.value, Value) else "",
                "n_failed": metric.n_failed,
                "changed": [visible(each) for each in changed[:_NAMED]],
                "n_more": max(0, len(changed) - _NAMED),
            }
            for (run, metric), changed in zip(found, changes, strict=True)
        ],
    )


@router.get("/api/trends", tags=["trends"])
def trends_json(
    store: Store, group: Named, name: Named, task: Text = "", of: Text = "", limit: Annotated[int, Query(ge=1, le=MOST)] = LAST
) -> HistoryAnswer:
    """A metric at the last runs of a suite, or of runs of one name."""
    found = _history(store.history(group, task, name, of, limit))
    if not found:
        raise HTTPException(404, "There is no run with this metric.")
    changes = _changes([run for run, _ in found])
    points = [
        Point(run=run.id, finished=run.finished, value=metric.value, n_failed=metric.n_failed, changed=changed)
        for (run, metric), changed in zip(found, changes, strict=True)
    ]
    return HistoryAnswer(group=group, task=task, name=name, of=of, points=points)


def _history(found: Sequence[tuple[RunRow, MetricRow]]) -> list[tuple[RunRow, MetricRow]]:
    """Oldest first."""
    return sorted(found, key=lambda each: (each[0].finished, each[0].id))


def _changes(runs: Sequence[RunRow]) -> list[list[str]]:
    """[run] what of its provenance is not as in the one before."""
    facts = [flat(run.provenance) for run in runs]
    found: list[list[str]] = [[]]
    for before, after in pairwise(facts):
        names = sorted(before.keys() | after.keys())
        found.append(
            [f"{name}: {_short(before.get(name))} → {_short(after.get(name))}" for name in names if before.get(name) != after.get(name)]
        )
    return found[: len(runs)]


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested facts by a dotted name."""
    found: dict[str, str] = {}
    for name, value in facts.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return found


def _short(text: str | None) -> str:
    return "none" if text is None else text if len(text) <= 24 else f"{text[:12]}…"


def _labels(runs: Sequence[RunRow]) -> list[tuple[int, str]]:
    """Places and texts of the days below the chart, no more than fit."""
    every = max(1, -(-len(runs) // 8))
    within_a_day = runs[-1].finished - runs[0].finished < timedelta(days=1)
    named = naming.clock if within_a_day else naming.day
    return [(at, named(run.finished)) for at, run in enumerate(runs) if at % every == 0]
