"""What the card of one site, and its line in the table, show: numbers turned into texts and positions, no markup."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evals.cautions import cautions
from evals.exchange.results import ImportedSite
from evals.results import Failure, Instrument, Lift, ScorerResult, SiteResult, Value, headline
from explicate.forest import forest, mark
from explicate.shading import Levels, Row, contrast, peaks, shaded

STRATA = {
    "top": "loudest of the split",
    "q95": "from the loudest 5 % of random blocks",
    "q75": "from the loudest 25 % of random blocks",
    "random": "drawn at random, the same for all sites",
}
KINDS = {**{kind: kind for kind in STRATA}, "top_and_random": "top + random"}
CONTROLS = {
    "shuffled": "another site's explanation",
    "null": "an empty explanation",
    "token_lookup": "token look-up",
    "bigram_lookup": "previous-token look-up",
    "lexical": "words of the explanation",
}
TWINS = {"random-direction": "a random direction, labelled alike", "random-init": "the same site with random weights"}
FREE = ("token_lookup", "bigram_lookup", "lexical")
TITLES = {"pearson": "score", "pearson_null_contrast": "score, null contrast"}
MEASURES = {"auroc": "AUROC", "pearson": "Pearson", "share": "share right", "explained": "share of effect explained"}
BINS = 24

Simulated = Mapping[tuple[str, str, int], Mapping[str, Levels]]


def noun(sites: Sequence[SiteResult]) -> str:
    """What the sites of a run are called together."""
    return "Neurons" if all(".mlp." in site.site for site in sites) else "Sites"


def label_of(site: str, polarity: str) -> str:
    """`L7.mlp.1306` or `L7.mlp.1306-`."""
    return site + ("-" if polarity == "-" else "")


def number(value: Value | Failure | None, *, sign: bool = False) -> str:
    """A value with its interval."""
    if not isinstance(value, Value):
        return "none"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if sign else "{:.2f} [{:.2f}, {:.2f}]"
    # Adding 0 takes the sign off a 0.
    return form.format(*(round(number, 2) + 0.0 for number in (value.value, value.low, value.high)))


def card(site: SiteResult, rows: Sequence[Row], simulated: Simulated, instrument: Instrument | None) -> dict[str, Any]:
    """Everything the templates say of one site; rows: its excerpts."""
    name = label_of(site.site, site.polarity)
    first = headline(site.scores)
    score, lift = site.scores.get(first), site.lift
    control = _numbers(site.controls.get(lift.over, {}).get("pearson")) if isinstance(lift, Lift) else None
    return {
        "anchor": name,
        "label": name,
        "side": "positive" if site.polarity == "+" else "negative",
        "explanation": site.explanation,
        "explainer": site.explainer,
        "simulator": site.simulator,
        "failures": site.failures,
        "scored": isinstance(score, Value),
        "why_not": next((each.reason for each in (*site.failures, score) if isinstance(each, Failure)), "not scored"),
        "cautions": cautions(site, instrument),
        "headline": TITLES[first],
        "score": _numbers(score),
        "raw": _numbers(site.scores.get("pearson")),
        "lift": _numbers(lift, sign=True),
        "lift_over": CONTROLS.get(lift.over, lift.over) if isinstance(lift, Lift) else "",
        "control": {"name": CONTROLS.get(lift.over, lift.over), **control} if isinstance(lift, Lift) and control else None,
        "q_value": "none" if site.q_value is None else "under .001" if site.q_value < 0.001 else f"{site.q_value:.3f}",
        "fires": "unknown" if site.firing is None else f"{site.firing:.2%}",
        "forest": forest(_marks(site, first)),
        "strata": forest(
            [mark(title, site.by_stratum[kind].get(first), "ours") for kind, title in KINDS.items() if kind in site.by_stratum]
        ),
        "mini": forest([mark("", score, "ours")]),
        "histogram": _histogram(rows),
        "candidates": [
            {"explanation": each.explanation, "score": f"{each.select_score:.2f}" if isinstance(each.select_score, float) else "none"}
            for each in site.candidates
        ],
        "scorers": [scorer_row(name, result) for name, result in site.scorers.items()],
        "experiments": site.experiments,
        "twins": [{"name": TWINS.get(key, key), "site": twin.site, "explanation": twin.explanation} for key, twin in site.twins.items()],
        "excerpts": _excerpts(name, rows, simulated, site),
        "published": [(key, "undefined" if value is None else f"{value:.2f}") for key, value in _published(site).items()],
    }


def scorer_row(name: str, result: ScorerResult | Failure) -> dict[str, Any]:
    """A scorer's line in the card: its figure beside the same of explanations that know nothing of the site."""
    if isinstance(result, Failure):
        return {"name": name, "failed": result.reason}
    figure, shuffled = result.scores.get(result.measure), result.controls.get("shuffled", {}).get(result.measure)
    return {
        "name": name,
        "scorer": result.scorer,
        "measure": MEASURES.get(result.measure, result.measure),
        "figure": _numbers(figure),
        "why_not": figure.reason if isinstance(figure, Failure) else "",
        "shuffled": _numbers(shuffled),
        "lift": _numbers(result.lift, sign=True),
        "chance": "" if result.chance is None else f"{result.chance:.2f}",
        "clauses": [{"clause": each.clause, "gain": number(each.gain, sign=True)} for each in result.clauses],
        "plot": forest([mark("", figure, "ours")], lowest=0.0, zero=result.chance or 0.0),
        "others": [
            {"name": other, "value": number(value)}
            for other, value in result.scores.items()
            if other != result.measure and isinstance(value, Value)
        ],
        "saved": result.saved,
        "warning": result.warning,
        "cannot_judge": ", ".join(result.cannot_judge),
    }


def _numbers(value: Value | Failure | None, *, sign: bool = False) -> dict[str, Any] | None:
    """A value for a table: what is shown, and what it is sorted by."""
    if not isinstance(value, Value):
        return None
    form = "{:+.2f}" if sign else "{:.2f}"
    return {"value": form.format(value.value), "interval": f"[{form.format(value.low)}, {form.format(value.high)}]", "sort": value.value}


def _marks(site: SiteResult, first: str) -> list[dict[str, Any]]:
    if not site.controls and not isinstance(site.scores.get(first), Value):
        return []
    marks = [mark("this explanation", site.scores.get(first), "ours")]
    if first != "pearson":
        marks.append(mark("as simulated", site.scores.get("pearson"), "raw"))
    for key, title in CONTROLS.items():
        if key in site.controls:
            scores = site.controls[key]
            marks.append(mark(title, scores.get(first, scores.get("pearson")), "free" if key in FREE else "told"))
    for key, twin in site.twins.items():
        marks.append(mark(TWINS.get(key, key), twin.scores.get(first, twin.scores.get("pearson")), "told"))
    return marks


def _histogram(rows: Sequence[Row]) -> dict[str, Any]:
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
    return {"bars": bars, "peak": f"{peak:.3g}", "tokens": len(everything)}


def _published(site: SiteResult) -> Mapping[str, float | None]:
    return site.published if isinstance(site, ImportedSite) else {}


def shown_known(site: SiteResult) -> bool:
    """Whether the excerpts of the explain split are what an explainer was shown; of imported data they may be no more than others."""
    return not isinstance(site, ImportedSite) or (site.shown_known and site.explanation is not None)


def strata(site: SiteResult) -> Mapping[str, str]:
    """How the excerpts of each kind were drawn; of imported data that is less."""
    return {"top": "among the loudest", "random": "all others"} if isinstance(site, ImportedSite) else STRATA


def _excerpts(name: str, rows: Sequence[Row], simulated: Simulated, site: SiteResult) -> list[dict[str, Any]]:
    """Groups of excerpts to read: the scored ones by kind, then those the explainer was shown."""
    contrasts = [contrast(simulated.get((name, row["document"], row["start"]), {})) for row in rows]
    true_peak, simulated_peak = peaks(rows, contrasts)
    groups = []
    for split, whose in (
        ("test", "Held out"),
        ("explain", "Shown to the explainer" if shown_known(site) else "What the look-ups learnt from"),
    ):
        for stratum, drawn in strata(site).items():
            chosen = [
                shaded(row, levels, true_peak, simulated_peak)
                for row, levels in zip(rows, contrasts, strict=True)
                if row["split"] == split and row["stratum"] == stratum
            ]
            if chosen:
                opened = (split, stratum) == ("test", "top")
                groups.append({"title": f"{whose}: {drawn} ({len(chosen)})", "open": opened, "excerpts": chosen})
    return groups
