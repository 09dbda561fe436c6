"""A text of the reader's, run through the subject: what chosen sites, or the loudest of a run, do on every token of it.

A request names a run of the database or a model of `explicate models`, never a folder; and no model is fetched for it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from analyzers.errors import ExplicateError
from evals.database import Database
from evals.database.rows import RunRow
from explicate.shaded_words import visible
from explicate.shading import shaded
from explicate.web.live_subject import LONGEST, LiveSubject, cached_models, on_this_machine
from explicate.web.read_runs import LabelRun, label_run, loudest, of_kind
from explicate.web.rendering import MAX_TEXT, Store, fields, page

if TYPE_CHECKING:
    from analyzers.read_text import TextReading

router = APIRouter()

CHARACTERS = 2_000
"""Of a text."""
NAMED = 64
"""Sites that may be named."""
READ = 2_000
"""Sites of a run that are read where none is named: the first ones."""
SHOWN = 12
"""Of these, the loudest are shown."""
OFFERED = 50
"""Runs in the form: the last ones."""
PER_TOKEN = 3
"""Sites that a token names."""
TASTE = "The old bridge was carried away by a flood in 1927, and a new one, built of stone and iron, was opened three years later."

_SUBJECT = LiveSubject()


class LiveRequest(BaseModel):
    """A text, and who reads it: the subject of a run, or a model that is cached."""

    text: str = Field(max_length=CHARACTERS)
    run: str | None = Field(default=None, max_length=MAX_TEXT, description="id of a labelling run, whose subject reads the text")
    model: str | None = Field(default=None, max_length=MAX_TEXT, description="name of a cached model of `explicate models`")
    sites: list[Annotated[str, Field(max_length=40)]] = Field(
        default_factory=list, max_length=NAMED, description=f"`L7.mlp.1306`, ...; where none is named, the {SHOWN} loudest of the run"
    )


class LiveSite(BaseModel):
    """What a site does on the text."""

    label: str
    explanation: str | None
    """From the run."""
    largest: float
    """Largest activation on the text."""
    largest_known: float | None
    """In the excerpts of the run; None without a run, or where the run has no loud excerpt of it."""
    activations: list[float]
    """[token] raw units of the model."""


class LiveAnswer(BaseModel):
    """A text as a subject reads it."""

    subject: str
    changed: bool
    """Whether the model is not the one that the run was made with any more."""
    tokens: list[str]
    n_read: int
    """Sites that were read."""
    sites: list[LiveSite]
    """As named, or the loudest first: by share of the largest known activation."""


@dataclass(frozen=True, eq=False)
class _Read:
    """An answer, and what the page says beside it."""

    answer: LiveAnswer
    loudest: list[dict[str, Any]]
    """[token] for the template: shaded by the loudest of all sites that were read."""


@router.get("/live", response_class=HTMLResponse, include_in_schema=False)
def live_page(
    request: Request,
    store: Store,
    run: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    sites: Annotated[str, Query(max_length=MAX_TEXT)] = "",
) -> HTMLResponse:
    """The form."""
    return _page(request, store, chosen=f"run:{run}" if run else "", sites=sites, text=TASTE)


@router.post("/live", response_class=HTMLResponse, include_in_schema=False)
async def live_read(request: Request, store: Store) -> HTMLResponse:
    """The form, and below it what the sites do on its text."""
    form = await fields(request)
    return await run_in_threadpool(_of_form, request, store, form)


@router.post("/api/live")
async def live_json(store: Store, wanted: LiveRequest) -> LiveAnswer:
    """Run a text through a subject and read sites on every token."""
    return (await run_in_threadpool(_read, store, wanted)).answer


def _of_form(request: Request, store: Database, form: dict[str, str]) -> HTMLResponse:
    chosen, sites = form.get("subject", ""), form.get("sites", "")[:CHARACTERS]
    # Browsers send line ends as two characters.
    text = form.get("text", "").replace("\r\n", "\n")
    kind, _, name = chosen.partition(":")
    named = [each for each in re.split(r"[\s,]+", sites) if each]

    def refused(said: str) -> HTMLResponse:
        return _page(request, store, chosen=chosen, sites=sites, text=text[:CHARACTERS], said=said, status=422)

    if len(text) > CHARACTERS:
        return refused(f"The text has {len(text):,} characters: shorten it to {CHARACTERS:,} at most.")
    if len(named) > NAMED or any(len(each) > 40 for each in named):
        return refused(f"Name at most {NAMED} sites, such as L7.mlp.1306.")
    if kind not in ("run", "model") or len(name) > MAX_TEXT:
        return refused("Choose whose text this is to be: a run, or a model.")
    wanted = LiveRequest(text=text, run=name if kind == "run" else None, model=name if kind == "model" else None, sites=named)
    try:
        read = _read(store, wanted)
    except ExplicateError as error:
        return refused(str(error))
    except HTTPException as error:
        return refused(str(error.detail))
    return _page(request, store, chosen=chosen, sites=sites, text=text, read=read, named=bool(named))


def _page(
    request: Request,
    store: Database,
    *,
    chosen: str,
    sites: str,
    text: str,
    read: _Read | None = None,
    named: bool = False,
    said: str = "",
    status: int = 200,
) -> HTMLResponse:
    runs = store.runs(kind="label", tasks=True, limit=OFFERED).rows
    kind, _, name = chosen.partition(":")
    if kind == "run" and all(each.id != name for each in runs):
        other = store.run(name)
        runs = [other, *runs] if other is not None and other.kind == "label" else runs
    return page(
        request,
        "live.html",
        status=status,
        title="Live",
        runs=runs,
        models=cached_models(),
        chosen=chosen,
        run_id=name if kind == "run" else "",
        sites=sites,
        text=text,
        said=said,
        read=None if read is None else read.answer,
        loudest=[] if read is None else read.loudest,
        lines=[] if read is None else [_line(each, read.answer.tokens) for each in read.answer.sites],
        named=named,
        characters=CHARACTERS,
        longest=LONGEST,
    )


def _read(store: Database, wanted: LiveRequest) -> _Read:
    """Run the text; raises HTTPException for a run or model that is not to be had, ExplicateError for what else is wrong with it."""
    from analyzers.sites import Site

    if (wanted.run is None) == (wanted.model is None):
        raise HTTPException(422, "Name either a run or a model.")
    run = None if wanted.run is None else _labelled(store, wanted.run)
    labels = wanted.sites or ([] if run is None else list(run.labels[:READ]))
    if not labels:
        raise HTTPException(422, "Name the sites to read, such as L7.mlp.1306: a model without a run has no explained ones.")
    sites = [Site.parse(label) for label in dict.fromkeys(labels)]
    if run is None:
        assert wanted.model is not None
        name, dtype, known = _allowed(wanted.model), "auto", {}
    else:
        name, dtype = _of_run(run)
        known = dict(loudest(run.folder))
    reading, revision = _SUBJECT.read(name, dtype, wanted.text, sites)
    names = [str(site) for site in sites]
    peaks = [float(values.max()) for values in reading.activations]
    # Sites differ in their units: each is held against the loudest that is known of it.
    scales = [max(peak, known.get(label, 0.0)) for label, peak in zip(names, peaks, strict=True)]
    shares = [peak / scale if scale > 0 else 0.0 for peak, scale in zip(peaks, scales, strict=True)]
    order = range(len(names)) if wanted.sites else sorted(range(len(names)), key=lambda at: -shares[at])[:SHOWN]
    answer = LiveAnswer(
        subject=run.subject if run is not None else name,
        # The folder of a model from the Hub is named by its commit.
        changed=run is not None and run.revision not in (None, revision, Path(name).name),
        tokens=list(reading.tokens),
        n_read=len(names),
        sites=[
            LiveSite(
                label=names[at],
                explanation=_explanation(run, names[at]),
                largest=peaks[at],
                largest_known=known.get(names[at]),
                activations=[float(value) for value in reading.activations[at]],
            )
            for at in order
        ],
    )
    return _Read(answer, _loudest_of_each(reading, names, scales))


def _labelled(store: Database, run_id: str) -> LabelRun:
    found: RunRow | None = store.run(run_id)
    if found is None:
        raise HTTPException(404, "There is no run of this id; it may have been taken out of the database.")
    return label_run(of_kind(found, "label", "sites"))


def _allowed(model: str) -> str:
    """The name, where it is one of the models that are offered."""
    offered = cached_models()
    if model not in offered:
        raise HTTPException(422, f"Choose one of the models that are cached: {', '.join(offered) or 'there is none'}.")
    return model


def _of_run(run: LabelRun) -> tuple[str, str]:
    """What the subject of a run is loaded by, and its number format."""
    here = on_this_machine(run.subject)
    if here is None:
        raise ExplicateError(f"{run.subject!r}, the subject of the run, is not on this machine; fetch it, such as by explicate models NAME")
    return here, run.dtype


def _explanation(run: LabelRun | None, label: str) -> str | None:
    return run.site(label).explanation if run is not None and label in run.positions else None


def _line(site: LiveSite, tokens: list[str]) -> dict[str, Any]:
    """A site for the template: its text, shaded relative to the largest activation that is known of it."""
    scale = max(site.largest, site.largest_known or 0.0)
    drawn = shaded({"tokens": tokens, "activations": site.activations, "document": "", "start": 0}, None, scale, 0.0)
    for run in drawn["runs"]:
        if "title" in run:
            run["title"] = run["title"].removesuffix(", not simulated")
    known = f"{site.largest / site.largest_known:.0%} of its largest in the run" if site.largest_known else ""
    return {
        "label": site.label,
        "explanation": site.explanation,
        "runs": drawn["runs"],
        "largest": f"{site.largest:.2f}",
        "share": round(100 * site.largest / site.largest_known, 1) if site.largest_known else None,
        "known": known,
        "silent": site.largest <= 0,
    }


def _loudest_of_each(reading: "TextReading", names: list[str], scales: list[float]) -> list[dict[str, Any]]:
    """[token] shaded by the loudest of the sites, each relative to its scale, and which these are."""
    drawn = []
    for at, token in enumerate(reading.tokens):
        shares = [float(values[at]) / scale if scale > 0 else 0.0 for values, scale in zip(reading.activations, scales, strict=True)]
        first = sorted(range(len(names)), key=lambda site: -shares[site])[:PER_TOKEN]
        said = ", ".join(f"{names[site]} {shares[site]:.0%}" for site in first if shares[site] > 0)
        drawn.append({"text": visible(token), "a": f"{shares[first[0]]:.2f}", "s": "0", "title": said or "all silent", "missing": False})
    return drawn
