"""An audit's items, those that disagree most first, and one item: its words shaded by what was claimed beside what was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from evals.audit.results import Answered, AuditItem
from evals.results import Failure
from explicate.audit_items import audited_items
from explicate.audit_table import SHORT, way
from explicate.shaded_words import shaded, shares, visible
from explicate.web.read_runs import Audit, audit, of_kind
from explicate.web.rendering import MAX_OFFSET, MAX_PAGE, MAX_TEXT, Run, page

router = APIRouter()

KIND, WHAT = "audit", "items"
SHOWN = 20
"""Items on a page, unless asked for others."""
BARS = 40
"""Words drawn as bars: those with the largest values."""
WHICH = {"all": "all", "right": "answered right", "wrong": "answered wrong", "failed": "without an explanation"}
"""Items to show, as a reader chooses them."""
Which = Literal["all", "right", "wrong", "failed"]
Way = Annotated[str, Query(max_length=MAX_TEXT, description="way of asking that the order goes by; the first one where left out")]
Number = Annotated[int, Path(ge=1, le=MAX_OFFSET, description="from 1, in the order of items.jsonl")]


class ItemSummary(BaseModel):
    """One line of the list."""

    number: int
    """From 1, in the order of items.jsonl."""
    text: str
    gold: str | None
    answer: Answered | Failure
    correct: bool | None
    """None without an answer or a known true label."""
    disagreement: float | None
    """Mean over words and operators of how far what was said is from what was found, each relative to the item's largest; None where one
    of them is missing."""


class ItemsAnswer(BaseModel):
    """Some of the items of an audit."""

    run: str
    way: str
    ways: list[str]
    total: int
    """Items that match, on all pages."""
    limit: int
    offset: int
    items: list[ItemSummary]


class ItemAnswer(BaseModel):
    """One item of an audit."""

    run: str
    number: int
    disagreement: float | None
    lines: list[AuditItem]
    """Of every way of asking and of perturbing."""


@dataclass(frozen=True)
class _Place:
    """An item in the order of a way of asking."""

    number: int
    disagreement: float | None
    correct: bool | None
    explained: bool
    text: str
    """Case folded."""


@router.get("/runs/{run_id}/items", response_class=HTMLResponse, include_in_schema=False)
def items_page(
    request: Request,
    run: Run,
    q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    asked: Way = "",
    which: Which = "all",
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> HTMLResponse:
    """The page of an audit's items."""
    read = audit(of_kind(run, KIND, WHAT))
    by = _way(read, asked)
    found = _matching(_ranked(read, by), q, which)
    return page(
        request,
        "items.html",
        title=f"Items of {run.name}",
        run=run,
        ways=read.ways,
        by=by,
        q=q,
        which=which,
        kinds=WHICH,
        total=len(found),
        n_items=len(read.texts),
        offset=offset,
        limit=SHOWN,
        items=[_drawn(read, place, by) for place in found[offset : offset + SHOWN]],
        verdict=read.results.verdict,
        void=read.results.void,
    )


@router.get("/runs/{run_id}/items/{number}", response_class=HTMLResponse, include_in_schema=False)
def item_page(request: Request, run: Run, number: Number, asked: Way = "") -> HTMLResponse:
    """The page of one item."""
    read = audit(of_kind(run, KIND, WHAT))
    by = _way(read, asked)
    lines = _lines(read, number)
    ranked = _ranked(read, by)
    at = next(position for position, place in enumerate(ranked) if place.number == number)
    ways = [by, *(each for each in read.ways if each != by)]
    return page(
        request,
        "item.html",
        title=f"Item {number} of {run.name}",
        run=run,
        by=by,
        asked=asked,
        number=number,
        n_items=len(ranked),
        rank=at + 1,
        before=ranked[at - 1].number if at else None,
        after=ranked[at + 1].number if at + 1 < len(ranked) else None,
        place=ranked[at],
        text=lines[0].text,
        gold=lines[0].gold,
        columns=list(SHORT.values()),
        asks=[_asked(each, [line for line in lines if way(line) == each]) for each in ways if any(way(line) == each for line in lines)],
    )


@router.get("/api/runs/{run_id}/items")
def items_json(
    run: Run,
    q: Annotated[str, Query(max_length=MAX_TEXT, description="words of the text")] = "",
    asked: Way = "",
    which: Which = "all",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = SHOWN,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> ItemsAnswer:
    """Items of an audit, those that disagree most first."""
    read = audit(of_kind(run, KIND, WHAT))
    by = _way(read, asked)
    found = _matching(_ranked(read, by), q, which)
    chosen = [_summary(read, place, by) for place in found[offset : offset + limit]]
    return ItemsAnswer(run=run.id, way=by, ways=list(read.ways), total=len(found), limit=limit, offset=offset, items=chosen)


@router.get("/api/runs/{run_id}/items/{number}")
def item_json(run: Run, number: Number, asked: Way = "") -> ItemAnswer:
    """One item of an audit under every way of asking and of perturbing."""
    read = audit(of_kind(run, KIND, WHAT))
    lines = _lines(read, number)
    place = next(each for each in _ranked(read, _way(read, asked)) if each.number == number)
    return ItemAnswer(run=run.id, number=number, disagreement=place.disagreement, lines=list(lines))


def _way(read: Audit, asked: str) -> str:
    if not asked:
        return read.ways[0] if read.ways else ""
    if asked not in read.ways:
        raise HTTPException(404, "The audit did not ask in this way; leave `asked` out, or choose one of its ways.")
    return asked


def _lines(read: Audit, number: int) -> tuple[AuditItem, ...]:
    if number > len(read.texts):
        raise HTTPException(404, f"This audit has {len(read.texts)} items; their numbers begin at 1.")
    return read.texts[number - 1]


@lru_cache(maxsize=8)
def _ranked(read: Audit, by: str) -> tuple[_Place, ...]:
    """All items, those that disagree most first; those of which that is not known at the end."""
    places = [_place(number, lines, by) for number, lines in enumerate(read.texts, start=1)]
    return tuple(sorted(places, key=lambda place: (place.disagreement is None, -(place.disagreement or 0.0), place.number)))


def _place(number: int, lines: Sequence[AuditItem], by: str) -> _Place:
    own = [line for line in lines if way(line) == by] or list(lines)
    apart = []
    for line in own:
        said = line.attributions.get("self")
        if said is not None and not isinstance(said, Failure) and not isinstance(line.effects, Failure) and line.units:
            both = zip(shares(said), shares(line.effects), strict=True)
            apart.append(sum(abs(a - b) for a, b in both) / len(line.units))
    first = own[0]
    return _Place(
        number,
        sum(apart) / len(apart) if apart else None,
        _correct(first),
        not isinstance(first.attributions.get("self", Failure(stage="explain", reason="none")), Failure),
        first.text.casefold(),
    )


def _correct(line: AuditItem) -> bool | None:
    return None if isinstance(line.answer, Failure) or line.gold is None else line.answer.label == line.gold


def _matching(ranked: Sequence[_Place], search: str, which: Which) -> list[_Place]:
    words = search.casefold().split()
    kept: dict[str, Callable[[_Place], bool]] = {
        "all": lambda _: True,
        "right": lambda place: place.correct is True,
        "wrong": lambda place: place.correct is False,
        "failed": lambda place: not place.explained,
    }
    return [place for place in ranked if kept[which](place) and all(word in place.text for word in words)]


def _summary(read: Audit, place: _Place, by: str) -> ItemSummary:
    lines = read.texts[place.number - 1]
    first = next((line for line in lines if way(line) == by), lines[0])
    return ItemSummary(
        number=place.number,
        text=first.text,
        gold=first.gold,
        answer=first.answer,
        correct=place.correct,
        disagreement=place.disagreement,
    )


def _drawn(read: Audit, place: _Place, by: str) -> dict[str, Any]:
    """An item of the list, with its first way of asking."""
    lines = read.texts[place.number - 1]
    chosen = [line for line in lines if way(line) == by] or lines
    [item] = audited_items(chosen, (by,))
    return {"place": place, "first": item["first"], "n_ways": len({way(line) for line in lines})}


def _asked(name: str, lines: Sequence[AuditItem]) -> dict[str, Any]:
    """One way of asking an item: its lines of words, bars of its words, metrics of every operator and source."""
    [item] = audited_items(lines, (name,))
    return {
        **item["first"],
        "correct": _correct(lines[0]),
        "operators": [_operator(line) for line in lines],
    }


def _operator(line: AuditItem) -> dict[str, Any]:
    said = line.attributions.get("self", Failure(stage="explain", reason="no explanation"))
    return {
        "name": visible(line.operator),
        "bars": [] if isinstance(said, Failure) or isinstance(line.effects, Failure) else _bars(line.units, said, line.effects),
        "constant": not isinstance(said, Failure) and len(line.units) > 1 and len(set(said)) == 1,
        "n_words": len(line.units),
        "others": [
            {"name": visible(source), "why": visible(values.reason), "words": []}
            if isinstance(values, Failure)
            else {"name": visible(source), "why": "", "words": shaded(line.units, values)}
            for source, values in line.attributions.items()
            if source not in ("self", "occlusion")  # occlusion is what was found
        ],
        "metrics": [
            {"source": visible(source), "cells": [_cell(values.get(name)) for name in SHORT]} for source, values in line.metrics.items()
        ],
    }


def _cell(value: float | Failure | None) -> dict[str, str]:
    if isinstance(value, float):
        return {"value": f"{round(value, 3) + 0.0:.3f}", "why": ""}
    return {"value": "none", "why": visible(value.reason) if isinstance(value, Failure) else "not measured"}


def _bars(units: Sequence[str], said: Sequence[float], found: Sequence[float]) -> list[dict[str, Any]]:
    """[word] what was said beside what was found, relative to the largest, as percentages of an axis from -1 to 1, in the text's order."""
    both = list(zip(units, said, found, shares(said), shares(found), strict=True))
    loudest = sorted(range(len(both)), key=lambda at: -max(abs(both[at][3]), abs(both[at][4])))[:BARS]
    return [
        {
            "word": visible(unit),
            "said": {**_bar(a), "value": f"{x:+.3g}"},
            "found": {**_bar(b), "value": f"{y:+.3f}"},
            "apart": abs(a - b) > 0.5,
        }
        for unit, x, y, a, b in (both[at] for at in sorted(loudest))
    ]


def _bar(share: float) -> dict[str, Any]:
    width = round(50 * abs(share), 2)
    return {"left": 50 - width if share < 0 else 50, "width": width, "below": share < 0}
