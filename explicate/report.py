"""The report of a labelling run: one HTML file without external requests, drawn from the artefacts of the run folder alone.

The same templates show a site in a notebook. Everything from a model or a corpus is untrusted text: Jinja escapes it.
"""

import html
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evals.results import Failure, Lift, RunResults, Scores, SiteResult, Value
from evals.run_folder import read_json, replaced

PURPOSES = {
    "explain": "what the explainer was shown, and what the look-ups learnt from",
    "select": "what chose among the candidate explanations",
    "calibrate": "what fitted the calibration",
    "test": "what is scored",
}
STRATA = {
    "top": "the loudest excerpts of the split",
    "q95": "loudest 5 % of random blocks",
    "q75": "loudest 25 % of random blocks",
    "random": "random, the same for all sites",
}
CONTROLS = {
    "shuffled": "another site's explanation",
    "null": "null explanation",
    "token_lookup": "token look-up",
    "bigram_lookup": "previous-token look-up",
    "lexical": "lexical (words quoted)",
}
FREE = ("token_lookup", "bigram_lookup", "lexical")
BINS = 24


@dataclass(frozen=True)
class Artefacts:
    """A run folder, read."""

    results: RunResults
    excerpts: Mapping[str, Sequence[Mapping[str, Any]]]
    """By site with its polarity: rows of excerpts.parquet."""
    simulated: Mapping[tuple[str, str, int], Mapping[str, Sequence[float | None]]]
    """By site, document and start: of `explanation` and `null`, the simulated levels."""


def read(run: Path) -> Artefacts:
    """Read a run folder; raises RunFolderError where it is none, or its run did not end."""
    import pyarrow.parquet as pq

    results = RunResults.model_validate(read_json(run / "results.json"))
    excerpts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(run / "excerpts.parquet").to_pylist():
        excerpts[label_of(row["site"], row["polarity"])].append(row)
    simulated: dict[tuple[str, str, int], dict[str, Sequence[float | None]]] = defaultdict(dict)
    for row in pq.read_table(run / "simulations.parquet").to_pylist():
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
    results = artefacts.results
    sites = [_site(site, artefacts) for site in results.sites]
    return str(_environment().get_template("report.html").render(run=_run(results, artefacts), sites=sites, css=_style()))


def render_sites(artefacts: Artefacts, sites: Iterable[SiteResult]) -> str:
    """A fragment for a notebook: the cards of some sites with their style, kept to itself by a frame."""
    cards = "".join(_environment().get_template("site.html").render(site=_site(site, artefacts)) for site in sites)
    page = f"<!doctype html><meta charset='utf-8'><style>{_style()}</style>{cards}"
    return f'<iframe style="width:100%;height:640px;border:0" sandbox srcdoc="{html.escape(page, quote=True)}"></iframe>'


def label_of(site: str, polarity: str) -> str:
    """`L7.mlp.1306` or `L7.mlp.1306-`."""
    return site + ("-" if polarity == "-" else "")


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(loader=PackageLoader("explicate"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _style() -> Any:
    from markupsafe import Markup

    environment = _environment()
    source = environment.loader.get_source(environment, "style.css")[0]
    return Markup(source)  # noqa: S704 -- our own file


def _number(value: Value | Failure | None, *, sign: bool = False) -> str:
    if value is None or isinstance(value, Failure):
        return "failed"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if sign else "{:.2f} [{:.2f}, {:.2f}]"
    return form.format(value.value, value.low, value.high)


def _mark(name: str, value: Value | Failure | None, kind: str) -> dict[str, Any]:
    if value is None:
        return {"name": name, "kind": kind, "value": None, "reason": "not measured"}
    if isinstance(value, Failure):
        return {"name": name, "kind": kind, "value": None, "reason": f"failed: {value.reason}"[:60]}
    return {"name": name, "kind": kind, "value": value.value, "low": value.low, "high": value.high, "n": value.n}


def headline(scores: Scores) -> str:
    """Name of the score that counts: with null contrast where the simulator has a prior to remove."""
    return "pearson_null_contrast" if "pearson_null_contrast" in scores else "pearson"


def best_control(site: SiteResult) -> tuple[str, Value] | None:
    """The control without a language model that scores highest, if any could be scored."""
    found = [(name, site.controls.get(name, {}).get("pearson")) for name in FREE]
    values = [(name, value) for name, value in found if isinstance(value, Value)]
    return max(values, key=lambda pair: pair[1].value, default=None)


def _site(site: SiteResult, artefacts: Artefacts) -> dict[str, Any]:
    name = label_of(site.site, site.polarity)
    rows = artefacts.excerpts.get(name, [])
    first = headline(site.scores)
    marks = [_mark("this explanation", site.scores.get(first), "ours")]
    if first != "pearson":
        marks.append(_mark("without null contrast", site.scores.get("pearson"), "ours"))
    for key, title in CONTROLS.items():
        scores = site.controls.get(key, {})
        shown = scores.get(first, scores.get("pearson"))
        marks.append(_mark(title, shown, "free" if key in FREE else "told"))
    strata = [_mark(stratum, site.by_stratum.get(stratum, {}).get(first), "ours") for stratum in STRATA if stratum in site.by_stratum]
    control = best_control(site)
    lift = site.lift
    return {
        "anchor": name,
        "label": name,
        "side": "positive" if site.polarity == "+" else "negative",
        "explanation": site.explanation,
        "explainer": f"explained by {site.explainer}, simulated by {site.simulator}",
        "failures": site.failures,
        "first_failure": site.failures[0].reason if site.failures else "failed",
        "warning": site.warning,
        "raw": _number(site.scores.get("pearson")),
        "headline": _number(site.scores.get(first)),
        "lift": _number(lift, sign=True) if isinstance(lift, Lift) else "failed",
        "lift_over": lift.over.replace("_", " ") if isinstance(lift, Lift) else "the best LLM-free control",
        "control": f"{control[0].replace('_', ' ')} {control[1].value:.2f}" if control else "failed",
        "q_value": "none" if site.q_value is None else f"{site.q_value:.3f}",
        "fires": "unknown" if site.firing is None else f"{site.firing:.2%}",
        "scores": marks,
        "strata": strata,
        "histogram": _histogram(rows),
        "candidates": [
            {
                "explanation": candidate.explanation,
                "score": f"{candidate.select_score:.2f}" if isinstance(candidate.select_score, float) else "failed",
            }
            for candidate in site.candidates
        ],
        "excerpts": _excerpts(name, rows, artefacts),
    }


def _histogram(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tokens by activation, in BINS equal bins from 0 to the peak; heights on a log scale of counts."""
    everything = [value for row in rows for value in row["activations"]]
    chance = [value for row in rows if row["stratum"] == "random" for value in row["activations"]]
    peak = max(everything, default=0.0)

    def count(values: Sequence[float]) -> list[int]:
        counts = [0] * BINS
        for value in values:
            counts[min(int(value / peak * BINS), BINS - 1) if peak > 0 else 0] += 1
        return counts

    total, random = count(everything), count(chance)
    scale = math.log1p(max(total))
    bars = [
        {
            "label": f"{peak * position / BINS:.3g} to {peak * (position + 1) / BINS:.3g}",
            "all": total[position],
            "random": random[position],
            "all_height": math.log1p(total[position]) / scale if scale else 0.0,
            "random_height": math.log1p(random[position]) / scale if scale else 0.0,
        }
        for position in range(BINS)
    ]
    return {"bars": bars, "peak": peak}


def _excerpts(name: str, rows: Sequence[Mapping[str, Any]], artefacts: Artefacts) -> list[dict[str, Any]]:
    """Groups of excerpts to read: the scored ones by kind, then those the explainer was shown."""
    peak = max((value for row in rows for value in row["activations"]), default=0.0)
    contrasts = {
        (row["document"], row["start"]): _contrast(artefacts.simulated.get((name, row["document"], row["start"]), {})) for row in rows
    }
    loudest = max((value for values in contrasts.values() for value in values or () if value is not None), default=0.0)
    groups = []
    for split, stratum in [("test", stratum) for stratum in STRATA] + [("explain", stratum) for stratum in STRATA]:
        chosen = [row for row in rows if row["split"] == split and row["stratum"] == stratum]
        if not chosen:
            continue
        items = [_tokens(row, contrasts[row["document"], row["start"]], peak, loudest) for row in chosen]
        title = f"{split}: {STRATA[stratum]} ({len(items)})"
        groups.append({"title": title, "open": (split, stratum) == ("test", "top"), "excerpts": items})
    return groups


def _contrast(simulated: Mapping[str, Sequence[float | None]]) -> Sequence[float | None] | None:
    """[token] simulated level with the null simulation subtracted; None where a token is missing, or nothing was simulated."""
    if "explanation" not in simulated:
        return None
    values = simulated["explanation"]
    null = simulated.get("null")
    if null is None:
        return values
    return [None if a is None or b is None else a - b for a, b in zip(values, null, strict=True)]


def _tokens(row: Mapping[str, Any], contrast: Sequence[float | None] | None, peak: float, loudest: float) -> dict[str, Any]:
    tokens = []
    for position, (text, activation) in enumerate(zip(row["tokens"], row["activations"], strict=True)):
        simulated = contrast[position] if contrast is not None else None
        said = "not simulated" if contrast is None else "simulation missing" if simulated is None else f"simulated {simulated:+.2f}"
        tokens.append(
            {
                "text": text.replace("\n", "↵").replace("\t", "⇥"),
                "a": f"{max(activation, 0.0) / peak if peak else 0.0:.2f}",
                "s": f"{max(simulated or 0.0, 0.0) / loudest if loudest > 0 else 0.0:.2f}",
                "title": f"activation {activation:.3g}, {said}",
                "missing": contrast is not None and simulated is None,
            }
        )
    return {"document": row["document"], "start": row["start"], "tokens": tokens}


def _run(results: RunResults, artefacts: Artefacts) -> dict[str, Any]:
    manifest = results.manifest
    config = manifest["config"]
    mean = results.means.get("pearson_null_contrast", results.means.get("pearson"))
    audit = results.leak_audit
    rows = [row for found in artefacts.excerpts.values() for row in found]
    splits = []
    for name, purpose in PURPOSES.items():
        mine = [row for row in rows if row["split"] == name]
        splits.append(
            {
                "name": name,
                "purpose": purpose,
                "documents": len({row["document"] for row in mine}),
                "excerpts": len({(row["document"], row["start"]) for row in mine}),
            }
        )
    return {
        "title": f"Neurons of {config['subject']}, labelled",
        "subtitle": f"{len(results.sites)} sites; explained by {config['explainer']}, simulated by {config['simulator']}, "
        f"on {config['tokens']:,} tokens of {config['corpus']}",
        "void": results.void,
        "most_failed": "a fifth",
        "instrument": instrument_sentence(results),
        "facts": [
            {"name": "scored, and failed", "value": f"{results.n_scored}, {results.n_failed}", "kind": "bad" if results.n_failed else ""},
            {"name": "mean score, null contrast", "value": _number(mean), "kind": ""},
            {"name": "mean lift over the best LLM-free control", "value": _number(results.means.get("lift"), sign=True), "kind": ""},
            {"name": "leak audit", "value": "passed" if audit.passed else "FAILED", "kind": "good" if audit.passed else "bad"},
            {"name": "LLM calls, from the cache", "value": f"{results.calls.made:,}, {results.calls.cached:,}", "kind": ""},
            {"name": "USD", "value": f"{results.usd:.2f}", "kind": ""},
        ],
        "splits": splits,
        "audit": f"{'Passed' if audit.passed else 'FAILED'}: {audit.checked:,} comparisons of a scored or selecting excerpt with what "
        f"explainers were shown; largest share of words in common runs of five {audit.largest_overlap:.0%}, {len(audit.leaks)} leaks.",
        "provenance": [(key, _flat(value)) for key, value in manifest.items()],
    }


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(item) for item in value)
    return str(value)


def instrument_sentence(results: RunResults) -> str:
    """One sentence on how the simulator did on planted neurons, and which kinds it cannot judge."""
    instrument = results.instrument
    if instrument is None:
        return "The instrument was not tested: run `explicate selftest --simulator` with this simulator to learn what its scores are worth."
    text = f"The instrument, tested on planted neurons: AUROC of true against false explanations {_number(instrument.auroc)}."
    if instrument.cannot_judge:
        text += f" It cannot tell true from false for explanations of these kinds: {', '.join(instrument.cannot_judge)}."
    return text
