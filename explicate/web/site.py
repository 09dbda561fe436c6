"""A site: what explains it, scores beside controls, excerpts shaded by what it did and by what was simulated, its loudest tokens."""

import secrets
from collections.abc import Mapping, Sequence
from statistics import StatisticsError, correlation
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel

from evals.cautions import CHANCE
from evals.database.rows import RunRow
from evals.exchange.results import ImportedSite
from evals.results import SiteResult, Value, headline
from explicate.shading import Levels, Row, contrast, peaks, shaded
from explicate.site_card import STRATA, Simulated, card, label_of, shown_known, strata
from explicate.top_tokens import top_tokens
from explicate.web.read_runs import LabelRun, excerpts, label_run, of_kind, simulations
from explicate.web.rendering import Run, page

router = APIRouter()

TABS = {"top": "Loudest", "q95": "Top 5 %", "q75": "Top 25 %", "random": "Random"}
"""Kinds of held-out excerpts, as a tab names them."""
MISSED = 8
"""Excerpts shown in which the explanation is furthest from what the site did."""
FEW = 3
"""Tokens with a prediction that a correlation needs at least."""

Label = Annotated[str, Path(max_length=1000, description="`L7.mlp.1306`, or `L7.mlp.1306-` for the negative side")]


class Excerpt(BaseModel):
    """One excerpt, and what was simulated on it."""

    split: str
    stratum: str
    document: str
    start: int
    tokens: list[str]
    activations: list[float]
    """[token]"""
    simulated: list[float | None] | None
    """[token] from the explanation; None where nothing was simulated, or a token has no prediction."""
    simulated_null: list[float | None] | None
    """[token] the same from an empty explanation."""


class TopToken(BaseModel):
    """A token that the site is loud on."""

    text: str
    n: int
    """Times that it stands in the excerpts."""
    mean: float
    largest: float
    simulated: float | None
    """Mean simulated level, that of the empty explanation subtracted."""


class SiteAnswer(BaseModel):
    """One site of a run."""

    run: str
    label: str
    result: SiteResult
    other_side: str | None
    """Label of the other side of the neuron, where the run has it."""
    previous: str | None
    next: str | None
    top_tokens: list[TopToken]
    excerpts: list[Excerpt]


@router.get("/runs/{run_id}/random-site", include_in_schema=False)
def random_site(run: Run) -> RedirectResponse:
    """Any site of the run."""
    labels = label_run(of_kind(run, "label", "sites")).labels
    if not labels:
        raise HTTPException(404, "This run has no sites.")
    return RedirectResponse(f"/runs/{run.id}/sites/{quote(secrets.choice(labels))}", 303)


@router.get("/runs/{run_id}/sites/{label:path}", response_class=HTMLResponse, include_in_schema=False)
def site_page(request: Request, run: Run, label: Label) -> HTMLResponse:
    """The page of a site."""
    read, site = _found(run, label)
    rows, simulated = excerpts(read.folder, site), simulations(read.folder, site)
    contrasts = _contrasts(label, rows, simulated)
    tested = read.instrument
    at_chance = tested is not None and isinstance(tested.within, Value) and tested.within.low <= CHANCE and not tested.judges
    return page(
        request,
        "site_page.html",
        title=f"{label} of {read.subject}",
        run=run,
        subject=read.subject,
        marks={"tested": tested is not None, "cannot_judge": ", ".join(tested.cannot_judge) if tested is not None else ""},
        at_chance=at_chance,
        site=card(site, rows, simulated, tested),
        contrasted=headline(site.scores) != "pearson",
        simulated=bool(simulated),
        tabs=_tabs(rows, contrasts, site),
        foreign=isinstance(site, ImportedSite),
        tokens=top_tokens(rows, contrasts),
        n_sites=len(read.labels),
        position=read.positions[label] + 1,
        around=_around(read, site),
    )


@router.get("/api/runs/{run_id}/sites/{label:path}")
def site_json(run: Run, label: Label) -> SiteAnswer:
    """One site of a labelling run, with its excerpts."""
    read, site = _found(run, label)
    rows, simulated = excerpts(read.folder, site), simulations(read.folder, site)
    tokens = top_tokens(rows, _contrasts(label, rows, simulated))
    return SiteAnswer(
        run=run.id,
        label=label,
        result=site,
        **_around(read, site),
        top_tokens=[TopToken.model_validate(each) for each in tokens],
        excerpts=[_excerpt(row, simulated.get((label, row["document"], row["start"]), {})) for row in rows],
    )


def _found(run: RunRow, label: str) -> tuple[LabelRun, SiteResult]:
    read = label_run(of_kind(run, "label", "sites"))
    if label not in read.positions:
        raise HTTPException(404, "This run has no such site; its sites are listed on the page of all of them.")
    return read, read.site(label)


def _around(read: LabelRun, site: SiteResult) -> dict[str, str | None]:
    """The other side of the neuron, and the sites before and after it."""
    other = label_of(site.site, "+" if site.polarity == "-" else "-")
    at = read.positions[label_of(site.site, site.polarity)]
    return {
        "other_side": other if other in read.positions else None,
        "previous": read.labels[at - 1] if at else None,
        "next": read.labels[at + 1] if at + 1 < len(read.labels) else None,
    }


def _contrasts(label: str, rows: Sequence[Row], simulated: Simulated) -> list[Levels | None]:
    return [contrast(simulated.get((label, row["document"], row["start"]), {})) for row in rows]


def _excerpt(row: Row, simulated: Mapping[str, Levels]) -> Excerpt:
    return Excerpt.model_validate({**row, "simulated": simulated.get("explanation"), "simulated_null": simulated.get("null")})


def _tabs(rows: Sequence[Row], contrasts: Sequence[Levels | None], site: SiteResult) -> list[dict[str, Any]]:
    """Groups of excerpts, the loudest first in each: held-out ones by kind, those that the explanation misses, what explainers saw."""
    true_peak, simulated_peak = peaks(rows, contrasts)
    everything = list(zip(rows, contrasts, strict=True))

    def drawn(chosen: Sequence[tuple[Row, Levels | None]]) -> list[dict[str, Any]]:
        return [{**shaded(row, levels, true_peak, simulated_peak), "r": _correlation(row, levels)} for row, levels in chosen]

    def of(split: str, strata: Sequence[str]) -> list[tuple[Row, Levels | None]]:
        mine = [each for each in everything if each[0]["split"] == split and each[0]["stratum"] in strata]
        return sorted(mine, key=lambda each: -max(each[0]["activations"], default=0.0))

    apart = [(_apart(row, levels, true_peak, simulated_peak), row, levels) for row, levels in of("test", tuple(STRATA))]
    missed = sorted((each for each in apart if each[0] is not None), key=lambda each: -(each[0] or 0.0))[:MISSED]
    known = shown_known(site)
    groups = [(key, TABS[key], f"Held out: {drawn}.", of("test", (key,))) for key, drawn in strata(site).items()]
    groups += [
        (
            "missed",
            "Most wrong",
            "Held out: where simulated and true activation are furthest apart. What the explanation does not explain.",
            [(row, levels) for _, row, levels in missed],
        ),
        (
            "shown",
            "Shown" if known else "Learnt from",
            f"{'What the explainer was shown, and what' if known else 'What'} the look-ups learnt from; nothing here is scored.",
            of("explain", tuple(STRATA)),
        ),
    ]
    return [{"key": key, "name": name, "said": said, "excerpts": drawn(chosen)} for key, name, said, chosen in groups if chosen]


def _apart(row: Row, levels: Levels | None, true_peak: float, simulated_peak: float) -> float | None:
    """Mean distance of simulated from true activation, each relative to its largest; None where nothing was simulated."""
    if levels is None or true_peak <= 0 or simulated_peak <= 0:
        return None
    pairs = [(a, level) for a, level in zip(row["activations"], levels, strict=True) if level is not None]
    return sum(abs(a / true_peak - max(level, 0.0) / simulated_peak) for a, level in pairs) / len(pairs) if pairs else None


def _correlation(row: Row, levels: Levels | None) -> str:
    """Pearson's correlation within one excerpt; empty where there is none."""
    pairs = [(a, level) for a, level in zip(row["activations"], levels or [None] * len(row["tokens"]), strict=True) if level is not None]
    if len(pairs) < FEW:
        return ""
    try:
        return f"{correlation(*zip(*pairs, strict=True)) + 0.0:.2f}"
    except StatisticsError:  # one of them is constant
        return ""
