"""The first page: what is worse than its baseline, the trends of what is watched, and all runs."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from evals.database import Database, MetricRow, RunRow
from evals.metrics import Key
from evals.results import Failure, Value
from explicate.headlines import NAMES, headlines
from explicate.shaded_words import visible
from explicate.web import naming, recent
from explicate.web.answers import RunsAnswer, of_run
from explicate.web.rendering import MAX_OFFSET, MAX_PAGE, MAX_TEXT, Store, page
from explicate.web.trend_chart import trend

router = APIRouter()

ROWS = 25
"""Runs of a page."""
WATCHED = 4
"""Groups of runs that are drawn above the list."""
TILES = 6
"""Metrics of a group that are drawn."""
SERIES = 100
"""Series of runs that can be chosen."""
LAST = 24
"""Runs of a trend."""
ALARMS = 200
ALARMS_SHOWN = 6
"""Of a series."""

Kind = Literal["", "label", "audit", "confidence", "suite"]
Text = Annotated[str, Query(max_length=MAX_TEXT)]


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def runs_page(
    request: Request,
    store: Store,
    q: Text = "",
    kind: Kind = "",
    suite: Text = "",
    at: Annotated[int, Query(alias="page", ge=1, le=MAX_OFFSET // ROWS)] = 1,
) -> HTMLResponse:
    """The list with its filters; what is watched stands above it where nothing is filtered."""
    found = store.runs(search=q, kind=kind, suite=suite, limit=ROWS, offset=(at - 1) * ROWS)
    known = recent.series(store, SERIES)
    alarms = [each for each in recent.alarms(store, ALARMS) if not suite or each.series == suite]
    filtered = bool(q or kind or suite or at > 1)
    drawn = [suite] if suite else [] if filtered else _watched(known, alarms)
    return page(
        request,
        "runs.html",
        title=visible(suite) or "Runs",
        alarms=[] if q or kind or at > 1 else _by_series(store, alarms),
        watched=[card for name in drawn if (card := watched(store, name, _keys(alarms, name))) is not None],
        rows=_rows(store, found.rows, alarms),
        total=found.total,
        first=found.offset + 1,
        last=found.offset + len(found.rows),
        at=at,
        more=found.offset + len(found.rows) < found.total,
        q=q,
        kind=kind,
        suite=suite,
        kinds=["suite", "label", "audit", "confidence"],
        groups=[name for name, _, _ in known],
        filtered=filtered,
    )


@router.get("/api/runs", tags=["runs"])
def runs_json(
    store: Store,
    q: Text = "",
    kind: Kind = "",
    suite: Text = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = ROWS,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> RunsAnswer:
    """Runs, the last first: `q` is looked for in names and models, `suite` is the name of a suite."""
    found = store.runs(search=q, kind=kind, suite=suite, limit=limit, offset=offset)
    return RunsAnswer(rows=[of_run(each) for each in found.rows], total=found.total, limit=found.limit, offset=found.offset)


def _watched(known: Sequence[tuple[str, str, int]], alarms: Sequence[recent.Alarm]) -> list[str]:
    """Series that are drawn: those that alarm, then suites, then what ran more than once; the last one where nothing did."""
    alarming = {each.series for each in alarms}
    repeated = [each for each in known if each[1] == "suite" or each[2] > 1 or each[0] in alarming] or list(known[:1])
    ranked = sorted(repeated, key=lambda each: (each[0] not in alarming, each[1] != "suite"))
    return [name for name, _, _ in ranked[:WATCHED]]


def _keys(alarms: Sequence[recent.Alarm], series: str) -> set[Key]:
    return {each.key for each in alarms if each.series == series}


def watched(store: Database, group: str, alarming: Collection[Key] = ()) -> dict[str, Any] | None:
    """The card of a series: its last run, and the trends of the metrics that stand for it; None where it has no runs."""
    last = store.latest(group)
    if last is None:
        return None
    chosen = headlines(store.metrics(last.id), TILES, alarming)
    history = recent.trends(store, group, {(each.task, each.name, each.of) for each in chosen}, LAST)
    base = store.baseline(group)
    before = {(each.task, each.name, each.of): each.value for each in store.metrics(base)} if base is not None else {}
    return {
        "name": visible(group),
        "group": group,
        "run": last.id,
        "kind": last.kind,
        "model": visible(last.model),
        "finished": naming.moment(last.finished),
        "status": last.status,
        "void": last.void,
        "baseline": base or "",
        "tiles": [
            tile(group, each, history[each.task, each.name, each.of], before.get((each.task, each.name, each.of)))
            | {"alarming": (each.task, each.name, each.of) in alarming}
            for each in chosen
        ],
    }


def tile(group: str, metric: MetricRow, history: Sequence[recent.Moment], baseline: Value | Failure | None) -> dict[str, Any]:
    """A metric with its last value, what it was, and its trend."""
    value = metric.value
    return {
        "key": {"group": group, "task": metric.task, "name": metric.name, "of": metric.of},
        "task": visible(metric.task),
        "title": naming.title(metric.name),
        "of": visible(metric.of),
        "arrow": naming.arrow(metric.better),
        "value": naming.number(value) if isinstance(value, Value) else "",
        "interval": naming.interval(value) if isinstance(value, Value) else "",
        "said": naming.sentence(value),
        "trend": trend([each.value for each in history], baseline=baseline if isinstance(baseline, Value) else None),
        "runs": len(history),
    }


def _rows(store: Database, rows: Sequence[RunRow], alarms: Sequence[recent.Alarm]) -> list[dict[str, Any]]:
    """Each with one metric that stands for it, and that metric's trend up to it."""
    metrics = recent.metrics_of(store, [each.id for each in rows], {*NAMES, *(each.name for each in alarms)})
    alarming = {each.id: _keys(alarms, each.series) for each in rows}
    leading = {run: found[0] for run, known in metrics.items() if (found := headlines(known, 1, alarming[run]))}
    keys: dict[str, set[Key]] = {}
    for each in rows:
        if each.id in leading:
            chosen = leading[each.id]
            keys.setdefault(each.series, set()).add((chosen.task, chosen.name, chosen.of))
    of_series = {name: [each for each in rows if each.series == name] for name in keys}
    history = {
        name: recent.trends(store, name, wanted, LAST + len(of_series[name]), until=of_series[name][0]) for name, wanted in keys.items()
    }
    return [_row(each, leading.get(each.id), history.get(each.series, {})) for each in rows]


def _row(run: RunRow, leading: MetricRow | None, history: dict[Key, list[recent.Moment]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": run.id,
        "name": visible(run.name),
        "group": run.series,
        "kind": run.kind,
        "model": visible(run.model),
        "finished": naming.moment(run.finished),
        "iso": run.finished.isoformat(),
        "status": run.status,
        "void": run.void,
        "calls": "" if run.calls is None else f"{run.calls:,}",
        "usd": "" if not run.usd else f"{run.usd:.2f} USD",
        "tile": None,
    }
    if leading is not None:
        so_far = history.get((leading.task, leading.name, leading.of), [])
        place = next((at for at, each in enumerate(so_far) if each.run_id == run.id), None)
        row["tile"] = tile(run.series, leading, so_far[max(0, place + 1 - LAST) : place + 1] if place is not None else [], None)
    return row


def _by_series(store: Database, alarms: Sequence[recent.Alarm]) -> list[dict[str, Any]]:
    """What is worse than its baseline now, in numbers, and the run that showed it last."""
    found: dict[str, list[recent.Alarm]] = {}
    for each in alarms:
        found.setdefault(each.series, []).append(each)
    return [
        {
            "name": visible(name),
            "group": name,
            "run": each[0].last_run or "",
            "metrics": _moved(store, name, each[:ALARMS_SHOWN]),
            "n": len(each),
        }
        for name, each in found.items()
    ]


def _moved(store: Database, series: str, alarms: Sequence[recent.Alarm]) -> list[dict[str, Any]]:
    """Each with its value at the baseline and at the last run."""
    names = {each.name for each in alarms}
    runs = {"before": store.baseline(series) or "", "after": alarms[0].last_run or ""}
    known = recent.metrics_of(store, [each for each in runs.values() if each], names)
    values = {when: {(each.task, each.name, each.of): each.value for each in known.get(run, [])} for when, run in runs.items()}
    return [
        {
            "state": each.state,
            "key": {"group": series, "task": each.task, "name": each.name, "of": each.of},
            "title": naming.title(each.name) if each.name else "metrics of the baseline",
            "task": visible(each.task),
            "of": visible(each.of),
            "since": naming.moment(each.since),
        }
        | {
            when: naming.number(value) if isinstance(value := values[when].get(each.key), Value) else "none" if value is not None else ""
            for when in runs
        }
        for each in alarms
    ]
