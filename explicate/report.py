"""The report of a labelling run: one HTML file without external requests, drawn from the artefacts of the run folder alone.

The same templates show a site in a notebook. Everything from a model or a corpus is untrusted text: Jinja escapes it, and the page
forbids itself (Content-Security-Policy) to load anything or to run any script but its own.
"""

import base64
import hashlib
import html
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzers.whole_files import replaced
from evals.cautions import CHANCE
from evals.exchange.problems import summed
from evals.exchange.results import ImportedResults
from evals.results import RunResults, SiteResult, Value, headline
from evals.run_folder import read_json, read_parquet, read_results
from explicate.pages import environment, source, trusted
from explicate.site_card import TITLES, card, label_of, noun, number, shown_known

PURPOSES = {
    "explain": "what explainers were shown, and what the look-ups learnt from",
    "select": "what chose among candidate explanations",
    "calibrate": "what fitted the calibration of simulated levels",
    "test": "what is scored",
}
_EXCERPT = ("site", "polarity", "split", "stratum", "document", "start", "tokens", "activations")
_SIMULATION = ("site", "polarity", "document", "start", "of", "values")


@dataclass(frozen=True)
class Artefacts:
    """A run folder, read."""

    results: RunResults
    excerpts: Mapping[str, Sequence[Mapping[str, Any]]]
    """By site with its polarity: rows of excerpts.parquet."""
    simulated: Mapping[tuple[str, str, int], Mapping[str, Sequence[float | None]]]
    """By site, document and start: of `explanation` and `null`, the simulated levels."""


def read(run: Path) -> Artefacts:
    """Read a run folder; raises RunFolderError where it is none, its run did not end, or a file is damaged."""
    results = read_results(run, ImportedResults if read_json(run / "manifest.json").get("command") == "import" else RunResults)
    excerpts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_parquet(run / "excerpts.parquet", _EXCERPT):
        excerpts[label_of(row["site"], row["polarity"])].append(row)
    simulated: dict[tuple[str, str, int], dict[str, Sequence[float | None]]] = defaultdict(dict)
    for row in read_parquet(run / "simulations.parquet", _SIMULATION):
        if row["values"] is not None:
            simulated[label_of(row["site"], row["polarity"]), row["document"], row["start"]][row["of"]] = row["values"]
    return Artefacts(results, excerpts, simulated)


def write_report(run: Path) -> Path:
    """Draw report.html into the run folder and return its path."""
    path = run / "report.html"
    with replaced(path) as temporary:
        temporary.write_text(render(read(run)), encoding="utf-8")
    return path


def render(artefacts: Artefacts) -> str:
    """The whole page."""
    cards = [_card(site, artefacts) for site in artefacts.results.sites]
    script = source("table.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment().get_template("report.html")
    return str(page.render(run=_run(artefacts), sites=cards, css=trusted("style.css"), script=trusted("table.js"), digest=digest))


def render_site(artefacts: Artefacts, site: SiteResult) -> str:
    """A fragment for a notebook: the card of a site with its style, kept to itself by a frame."""
    return _framed(environment().get_template("site.html").render(site=_card(site, artefacts), run=_run(artefacts)))


def render_run(artefacts: Artefacts) -> str:
    """A fragment for a notebook: what the run as a whole found, and the table of its sites."""
    cards = [_card(site, artefacts) for site in artefacts.results.sites]
    return _framed(environment().get_template("overview.html").render(run=_run(artefacts), sites=cards))


def instrument_sentence(results: RunResults) -> str:
    """What the simulator's test on planted neurons says about its scores, and which kinds it cannot judge."""
    instrument = results.instrument
    if instrument is None and not results.n_scored:
        return "Nothing is scored, so no simulator was tested."
    if instrument is None:
        return "The instrument was not tested: run `explicate selftest --simulator` with this simulator to learn what its scores are worth."
    text = (
        f"The instrument, tested with {instrument.n_explanations} explanations of planted neurons: true above false on the same neuron "
        f"{number(instrument.within)}, over all (AUROC) {number(instrument.auroc)}."
    )
    if instrument.n_failed:
        text += f" {instrument.n_failed} of the explanations got no score, and their pairs count as lost."
    if instrument.judges:
        text += f" It tells true from false for explanations of these kinds: {', '.join(instrument.judges)}."
    elif isinstance(instrument.within, Value) and instrument.within.low <= CHANCE:
        text += " That is no better than chance (.5): none of its scores is evidence for an explanation."
    if instrument.cannot_judge:
        text += f" Not known for: {', '.join(instrument.cannot_judge)}."
    return text


def _card(site: SiteResult, artefacts: Artefacts) -> dict[str, Any]:
    rows = artefacts.excerpts.get(label_of(site.site, site.polarity), [])
    return card(site, rows, artefacts.simulated, artefacts.results.instrument)


def _framed(body: str) -> str:
    page = f"<!doctype html><meta charset='utf-8'><style>{source('style.css')}</style><body class='framed'>{body}"
    return f'<iframe style="width:100%;height:640px;border:0" sandbox srcdoc="{html.escape(page, quote=True)}"></iframe>'


def _run(artefacts: Artefacts) -> dict[str, Any]:
    """Everything the templates say of the run as a whole."""
    results = artefacts.results
    config = results.manifest["config"]
    audit, instrument = results.leak_audit, results.instrument
    first = "pearson_null_contrast" if any(headline(site.scores) != "pearson" for site in results.sites) else "pearson"
    rows = [row for found in artefacts.excerpts.values() for row in found]
    purposes = PURPOSES if any(map(shown_known, results.sites)) else {**PURPOSES, "explain": "what the look-ups learnt from"}
    at_chance = (
        instrument is not None and not instrument.judges and (not isinstance(instrument.within, Value) or instrument.within.low <= CHANCE)
    )
    unusable = {"value": "void", "kind": "bad"}
    return {
        "title": f"{noun(results.sites)} of {config['subject']}",
        "subtitle": f"{len(results.sites)} {'site' if len(results.sites) == 1 else 'sites'}, {_made(results)}, "
        f"on {results.manifest['corpus']['tokens']:,} tokens of {config['corpus']}",
        "problems": summed(results.problems) if isinstance(results, ImportedResults) else [],
        "imported": isinstance(results, ImportedResults),
        "void": results.void,
        "n_sites": len(results.sites),
        "n_failed": results.n_failed,
        "leaks": len(audit.leaks),
        "leak_passed": audit.passed,
        "instrument": instrument_sentence(results),
        "instrument_bad": at_chance or (instrument is None and results.n_scored > 0),
        "headline": TITLES[first],
        "contrasted": first != "pearson",
        "tested": instrument is not None,
        "cannot_judge": ", ".join(instrument.cannot_judge) if instrument is not None else "",
        "facts": [
            {"name": f"of {len(results.sites)} scored", "value": f"{results.n_scored}", "kind": "bad" if results.n_failed else ""},
            {"name": f"mean {TITLES[first]}"} | (unusable if results.void else _fact(results.means.get(first))),
            {"name": "mean lift over the best LLM-free control"}
            | (unusable if results.void else _fact(results.means.get("lift"), sign=True)),
            {"name": "AUROC of the instrument"} | _fact(instrument.auroc if instrument is not None else None),
            {"name": "leak audit", "value": "passed" if audit.passed else "FAILED", "kind": "good" if audit.passed else "bad"},
        ],
        "splits": [_split(name, purpose, rows) for name, purpose in purposes.items()],
        "audit": f"{'Passed' if audit.passed else 'FAILED'}: {audit.checked:,} comparisons of a scored or selecting excerpt with what "
        f"explainers were shown; largest share of words in common runs of five {audit.largest_overlap:.0%}; leaks: {len(audit.leaks)}.",
        "cost": f"{results.calls.made:,} calls of language models made by the command that wrote these results, {results.calls.cached:,} "
        f"answered from the cache; {results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
        + (f", not counting {', '.join(results.unpriced)}, whose price is not known." if results.unpriced else "."),
        "provenance": [(key, _flat(value)) for key, value in results.manifest.items() if key not in ("config", "corpus")],
        "manifest": json.dumps(results.manifest, indent=1, ensure_ascii=False),
    }


def _made(results: RunResults) -> str:
    """Where explanations and scores are from."""
    config = results.manifest["config"]
    by = f"explained by {config['explainer']}" if config["explainer"] != "none" else "without explanations"
    if isinstance(results, ImportedResults):
        by = f"imported in the format {config['format']!r}, {by}"
    return f"{by}, simulated by {config['simulator']}" if config["simulator"] != "none" else f"{by}, not scored here yet"


def _fact(value: Any, *, sign: bool = False) -> dict[str, str]:
    return {"value": number(value, sign=sign), "kind": ""}


def _split(name: str, purpose: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mine = {(row["document"], row["start"]) for row in rows if row["split"] == name}
    return {"name": name, "purpose": purpose, "documents": len({document for document, _ in mine}), "excerpts": len(mine)}


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    return str(value)
