"""All sites of a labelling run: search over explanations, filters by layer, score and lift, and a map of scores by layer."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from sqlalchemy import Engine, select

from evals.database import Database
from evals.database.rows import Page, SiteRow
from evals.database.tables import site as site_table
from explicate.site_card import label_of
from explicate.web.read_runs import of_kind
from explicate.web.rendering import MAX_OFFSET, MAX_PAGE, MAX_TEXT, Run, Store, page

router = APIRouter()

SHOWN = 50
"""Sites on a page, unless asked for others."""
ORDERS = {"score": "score, highest first", "lift": "lift, highest first", "q_value": "q-value, lowest first", "site": "as in the run"}
"""What the list can be ordered by, as a reader chooses it."""
Order = Literal["score", "lift", "q_value", "site"]
LOWEST = -5
"""Tenths: what scores lower stands in the lowest row of the map."""
MAX_LAYER = 1_000_000
"""Larger numbers of layers are refused; databases know no whole numbers of any size."""
STEPS = 10
"""Rows of the map for a score of 1."""


class SiteSummary(BaseModel):
    """One line of the list."""

    label: str
    site: str
    polarity: Literal["+", "-"]
    layer: int
    explanation: str | None
    score: float | None
    """The headline score; None where it failed."""
    lift: float | None
    q_value: float | None
    failed: str | None


class SitesAnswer(BaseModel):
    """Some of the sites of a run."""

    run: str
    total: int
    """Sites that match, on all pages."""
    limit: int
    offset: int
    sites: list[SiteSummary]


@dataclass(frozen=True)
class Filters:
    """Which sites are wanted; None and "" leave nothing out."""

    search: str = ""
    layer: int | None = None
    min_score: float | None = None
    min_lift: float | None = None
    order: Order = "score"
    offset: int = 0
    limit: int = SHOWN

    @property
    def active(self) -> bool:
        """Whether any site may be left out."""
        return bool(self.search) or any(each is not None for each in (self.layer, self.min_score, self.min_lift))


def _of_form(
    q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    layer: Annotated[str, Query(max_length=20)] = "",
    min_score: Annotated[str, Query(max_length=20)] = "",
    min_lift: Annotated[str, Query(max_length=20)] = "",
    order: Order = "score",
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Filters:
    """As a form sends them: fields that were left empty are there, and empty."""
    lowest, least = _number("score", min_score), _number("lift", min_lift)
    if layer and not (layer.isdecimal() and int(layer) <= MAX_LAYER):
        raise HTTPException(422, "layer: give the number of a layer, such as 7, or leave it empty for all.")
    return Filters(q.strip(), int(layer) if layer else None, lowest, least, order, offset)


def _number(name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HTTPException(422, f"{name}: give a number, such as 0.3, or leave it empty for all.")
    return value


def _found(store: Database, run_id: str, wanted: Filters) -> Page[SiteRow]:
    return store.sites(
        run_id,
        search=wanted.search,
        layer=wanted.layer,
        min_score=wanted.min_score,
        min_lift=wanted.min_lift,
        order=wanted.order,
        limit=wanted.limit,
        offset=wanted.offset,
    )


@router.get("/runs/{run_id}/sites", response_class=HTMLResponse, include_in_schema=False)
def sites_page(request: Request, store: Store, run: Run, form: Annotated[Filters, Depends(_of_form)]) -> HTMLResponse:
    """The page of all sites of a run."""
    of_kind(run, "label", "sites")
    found = _found(store, run.id, form)
    overview = _overview(store.engine, run.id, run.indexed_at)
    return page(
        request,
        "sites.html",
        title=f"Sites of {run.name}",
        run=run,
        wanted=form,
        orders=ORDERS,
        found=found,
        rows=[_line(each) for each in found.rows],
        layers=overview.layers,
        map=_drawn(overview, form.layer),
        n_sites=overview.n,
    )


@router.get("/api/runs/{run_id}/sites")
def sites_json(
    store: Store,
    run: Run,
    q: Annotated[str, Query(max_length=MAX_TEXT, description="words of the explanation, or of the site's name")] = "",
    layer: Annotated[int | None, Query(ge=0, le=MAX_LAYER)] = None,
    min_score: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    min_lift: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    order: Order = "score",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = SHOWN,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> SitesAnswer:
    """Sites of a labelling run."""
    of_kind(run, "label", "sites")
    found = _found(store, run.id, Filters(q, layer, min_score, min_lift, order, offset, limit))
    return SitesAnswer(run=run.id, total=found.total, limit=limit, offset=offset, sites=[_summary(each) for each in found.rows])


def _summary(row: SiteRow) -> SiteSummary:
    return SiteSummary(
        label=label_of(row.site, row.polarity),
        site=row.site,
        polarity=row.polarity,
        layer=row.layer,
        explanation=row.explanation,
        score=row.score,
        lift=row.lift,
        q_value=row.q_value,
        failed=row.failed,
    )


def _line(row: SiteRow) -> dict[str, Any]:
    """What the table shows; bars as percentages of an axis from -1 to 1."""
    return {
        "label": label_of(row.site, row.polarity),
        "layer": row.layer,
        "explanation": row.explanation,
        "failed": row.failed,
        "score": _bar(row.score),
        "lift": _bar(row.lift, sign=True),
        "q": "" if row.q_value is None else "under .001" if row.q_value < 0.001 else f"{row.q_value:.3f}",
    }


def _bar(value: float | None, *, sign: bool = False) -> dict[str, Any] | None:
    if value is None:
        return None
    share = 50 * min(abs(value), 1.0)
    rounded = round(value, 2) + 0.0
    return {
        "text": f"{rounded:+.2f}" if sign else f"{rounded:.2f}",
        "left": 50 - share if value < 0 else 50,
        "width": share,
        "below": value < 0,
    }


@dataclass(frozen=True)
class _Overview:
    layers: tuple[int, ...]
    counts: dict[tuple[int, int], int]
    """By layer and tenth of the score."""
    unscored: dict[int, int]
    """By layer."""
    n: int


@lru_cache(maxsize=32)
def _overview(engine: Engine, run_id: str, _indexed_at: datetime) -> _Overview:
    """How many sites of a run lie in each layer and tenth of the score; kept until the run is imported again."""
    columns = site_table.c
    with engine.connect() as connection:
        rows = connection.execute(select(columns.layer, columns.score).where(columns.run_id == run_id)).all()
    counts = Counter((layer, _tenth(score)) for layer, score in rows if score is not None)
    unscored = Counter(layer for layer, score in rows if score is None)
    return _Overview(tuple(sorted({layer for layer, _ in rows})), dict(counts), dict(unscored), len(rows))


def _tenth(score: float) -> int:
    """Row of the map, whose lower bound this is in tenths; 1 itself is in the highest."""
    return min(max(math.floor(score * STEPS + 1e-9), LOWEST), STEPS - 1)


def _drawn(found: _Overview, chosen: int | None) -> dict[str, Any]:
    """[layer] the cells of its column, darker where there are more sites (by the logarithm)."""
    most = math.log1p(max(found.counts.values(), default=1))
    return {
        "rows": STEPS - LOWEST,
        "columns": [
            {
                "layer": layer,
                "chosen": layer == chosen,
                "cells": [
                    {
                        "row": STEPS - tenth,
                        "dark": round(0.15 + 0.85 * math.log1p(n) / most, 3),
                        "n": n,
                        "least": "" if tenth == LOWEST else f"{tenth / STEPS:.1f}",
                        "title": f"layer {layer}, score {'below' if tenth == LOWEST else 'from'} "
                        f"{(tenth + (tenth == LOWEST)) / STEPS:.1f}: {n} {'site' if n == 1 else 'sites'}",
                    }
                    for tenth in range(STEPS - 1, LOWEST - 1, -1)
                    if (n := found.counts.get((layer, tenth), 0))
                ],
            }
            for layer in found.layers
        ],
    }
