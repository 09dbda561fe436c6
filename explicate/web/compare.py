"""Two runs, metric by metric: what moved by more than its noise, and what else changed."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from analyzers.errors import RunFolderError
from evals.comparison import Change, Comparison, compare
from evals.database import Database, RunRow
from evals.results import Failure, Value
from explicate.shaded_words import visible
from explicate.web import naming
from explicate.web.rendering import MAX_TEXT, Run, Store, page
from explicate.web.run import baseline_of

router = APIRouter()

OFFERED = 100
"""Runs that can be chosen from."""
NAMED = 6
"""Changes that the page of a run names."""
KEPT = 32
"""Comparisons that are held in memory."""
SHOWN = 500
"""Changes that are listed; JSON has all."""
ORDER = ("regressed", "failed", "improved", "recovered", "not comparable", "unchanged", "not watched")
"""Of what is read first; every verdict of evals.comparison is in it."""
NEWS = ORDER[:4]
"""That a metric changed."""
_WIDTH, _ROOM = 150.0, 6.0
_ONE_AT_A_TIME = Lock()
_WAITING = BoundedSemaphore(8)
"""Requests that compute a comparison or wait for one: fewer than the threads that answer all others."""

Id = Annotated[str, Query(max_length=MAX_TEXT)]


@router.get("/compare", response_class=HTMLResponse, include_in_schema=False)
def compare_page(request: Request, store: Store, run: Id = "", baseline: Id = "") -> HTMLResponse:
    """A form that chooses two runs, and the comparison below it once both are known."""
    after = _known(store, run) if run else None
    before = _known(store, baseline) if baseline else baseline_of(store, after) if after is not None else None
    offered = _offered(store, after, before)
    found, why = None, ""
    if after is not None and before is not None and after.id != before.id:
        try:
            found = compared(after, before)
        except RunFolderError as error:
            why = str(error)
    changes = _changes(found, after.series) if found is not None and after is not None else []
    return page(
        request,
        "compare.html",
        status=HTTPStatus.CONFLICT if why else HTTPStatus.OK,
        title="Compare",
        why=visible(why),
        after=after,
        before=before,
        offered=[(each.id, visible(f"{each.series}, {naming.moment(each.finished)}, {each.kind}, {each.model}")) for each in offered],
        result=None if found is None else summary(found),
        groups=_groups(changes),
        n_shown=len(changes),
        n_changes=0 if found is None else len(found.changes),
        provenance=[]
        if found is None
        else [
            {"task": visible(each.task), "what": visible(each.what), "before": visible(each.before), "after": visible(each.after)}
            for each in found.provenance
        ],
        missing=[] if found is None else [visible(" ".join((each.task, each.name, each.of))) for each in found.missing],
        new=[] if found is None else [visible(" ".join((each.task, each.name, each.of))) for each in found.new],
    )


@router.get("/runs/{run_id}/verdict", response_class=HTMLResponse, include_in_schema=False)
def verdict(request: Request, store: Store, run: Run) -> HTMLResponse:
    """The part of a run's page that says how it stands against its baseline."""
    before = baseline_of(store, run)
    if before is None:
        raise HTTPException(404, "This run has no baseline that it could be held against.")
    known: dict[str, Any] = {"run": run, "before": before, "before_when": naming.moment(before.finished)}
    try:
        found = compared(run, before)
    except RunFolderError as error:
        return page(request, "verdict.html", why=visible(str(error)), **known)
    return page(request, "verdict.html", why="", result=summary(found), changes=_changes(found, run.series)[:NAMED], **known)


@router.get("/api/compare", tags=["comparison"])
def compare_json(store: Store, run: Annotated[str, Query(min_length=1, max_length=MAX_TEXT)], baseline: Id = "") -> Comparison:
    """A run held against another one, by default the baseline of its series; a suite's to its thresholds."""
    after = _known(store, run)
    before = _known(store, baseline) if baseline else baseline_of(store, after)
    if before is None:
        raise HTTPException(404, "This run has no baseline; name the run to hold it against.")
    return compared(after, before)


def compared(run: RunRow, baseline: RunRow) -> Comparison:
    """The comparison of two runs, kept while their folders stay as they are; raises RunFolderError where one is gone."""
    folders = Path(run.folder), Path(baseline.folder)
    # It takes seconds of a processor: those who ask for the same at once wait for one answer.
    if not _WAITING.acquire(blocking=False):
        raise HTTPException(503, "Many comparisons are asked for at once: try again in some seconds.")
    try:
        with _ONE_AT_A_TIME:
            return _compared(*folders, *map(_stamp, folders))
    finally:
        _WAITING.release()


@lru_cache(maxsize=KEPT)
def _compared(run: Path, baseline: Path, _run_stamp: int, _baseline_stamp: int) -> Comparison:
    return compare(run, baseline)


def summary(found: Comparison) -> dict[str, Any]:
    """How many metrics went which way, and the word for all of them."""
    counts = {word: sum(change.verdict == word for change in found.changes) for word in ORDER}
    worse = counts["regressed"] + counts["failed"]
    compared = counts["improved"] + counts["unchanged"] + counts["recovered"]
    kind = "" if worse else "fine" if compared and not counts["not comparable"] else "open"
    parts = [f"{count} {word}" for word, count in counts.items() if count]
    return {
        "counts": ", ".join(parts) or "nothing to compare",
        "class": kind,
        "n_worse": worse,
        "n_not_comparable": counts["not comparable"],
        "n": len(found.changes),
        "alpha": found.alpha,
    }


def _changes(found: Comparison, series: str) -> list[dict[str, Any]]:
    """What got worse first, and of that the largest against its noise."""
    ordered = sorted(found.changes, key=lambda change: (ORDER.index(change.verdict), 1.0 if change.q is None else change.q))
    return [_change(each, series) for each in ordered[:SHOWN]]


def _groups(changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that changed in one open table, the others by verdict in closed ones."""
    groups: list[dict[str, Any]] = []
    for change in changes:
        open_ = change["verdict"] in NEWS
        word = "" if open_ else change["verdict"]
        if not groups or groups[-1]["word"] != word:
            groups.append({"word": word, "open": open_, "rows": []})
        groups[-1]["rows"].append(change)
    return groups


def _change(change: Change, series: str) -> dict[str, Any]:
    difference = change.difference
    return {
        "key": {"group": series, "task": change.task, "name": change.name, "of": change.of},
        "task": visible(change.task),
        "title": naming.title(change.name),
        "of": visible(change.of),
        "arrow": naming.arrow(change.better),
        "verdict": change.verdict,
        "before": _value(change.before),
        "after": _value(change.after),
        "difference": naming.number(difference, sign=True) if isinstance(difference, Value) else "",
        "difference_interval": naming.interval(difference, sign=True) if isinstance(difference, Value) else "",
        "why": visible(difference.reason) if isinstance(difference, Failure) else "",
        "over": ""
        if isinstance(difference, Failure)
        else f"{difference.n:,} {'shared items' if change.paired else 'items, not the same ones'}",
        "q": "" if change.q is None else f"{change.q:.2g}",
        "pair": _pair(change.before, change.after),
    }


def _value(value: Value | Failure) -> dict[str, str]:
    if isinstance(value, Failure):
        return {"value": "", "interval": "", "said": naming.sentence(value)}
    return {"value": naming.number(value), "interval": naming.interval(value), "said": naming.sentence(value)}


def _pair(before: Value | Failure, after: Value | Failure) -> dict[str, dict[str, float]] | None:
    """Both intervals on one axis, as positions; None where one does not exist."""
    if isinstance(before, Failure) or isinstance(after, Failure):
        return None
    low, high = min(before.low, after.low), max(before.high, after.high)
    span = high - low or 1.0

    def along(value: float) -> float:
        return round(_ROOM + (_WIDTH - 2 * _ROOM) * (value - low) / span, 1)

    places: Mapping[str, Value] = {"before": before, "after": after}
    return {name: {"low": along(each.low), "at": along(each.value), "high": along(each.high)} for name, each in places.items()}


def _known(store: Database, run: str) -> RunRow:
    found = store.run(run)
    if found is None:
        raise HTTPException(404, "There is no run of this id; it may have been taken out of the database.")
    return found


def _offered(store: Database, *chosen: RunRow | None) -> Sequence[RunRow]:
    """The last runs, those of the chosen one's series first."""
    first = next((each for each in chosen if each is not None), None)
    same = store.runs(parent=None, suite=first.series, limit=OFFERED).rows if first is not None else []
    found = [*(each for each in chosen if each is not None), *same, *store.runs(limit=OFFERED).rows]
    return list({each.id: each for each in found}.values())


def _stamp(folder: Path) -> int:
    try:
        return (folder / "results.json").stat().st_mtime_ns
    except OSError:
        return 0  # whoever reads it says what is missing
