"""The page of `explicate trace`: claims beside controls, heat maps of layers and tokens, also of single facts, lens, attention cut."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evals.results import Failure, Value
from evals.tracing.results import Claim, Traced, TracedFact
from explicate.curve_chart import Line, curve_chart
from explicate.heat_map import heat_map, largest, plain_map
from explicate.pages import environment, trusted
from explicate.shaded_words import visible
from explicate.trace_words import CLAIMS, CLASSES, KINDS, LIFTS, SILENT, headline, lift_told, number, peak_told, told, verdict
from explicate.written_file import forms

SHOWN = 30
"""Facts with heat maps of their own, at most."""


def render(found: Traced) -> str:
    """The whole page."""
    page = environment().get_template("trace.html")
    return str(
        page.render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title=f"Where {visible(found.model['name'])} keeps facts",
            headline=visible(headline(found)),
            silent=SILENT,
            known=f"{found.known:,}",
            tried=f"{found.tried:,}",
            there=f"{found.there:,}",
            facts_of=[
                (told(found.probability), "probability of the answer"),
                (told(found.total_effect), "what noise on the subject takes of it"),
                (told(found.controls.elsewhere_total_effect), "what noise on as many other tokens takes"),
            ],
            claims=[_claim(name, claim) for name, claim in found.claims.items()],
            maps=_maps(found),
            charts=_charts(found),
            cut=None if not isinstance(found.knockout, Failure) else visible(found.knockout.reason),
            lens=_lens(found),
            own=[_fact(found, fact) for fact in found.facts[:SHOWN]],
            more=max(0, len(found.facts) - SHOWN),
            rows=_rows(found),
            not_known=[
                (visible(each.prompt), visible(each.target), visible(each.says), f"{each.probability:.3f}") for each in found.not_known
            ],
            left_out=[(visible(each.id), visible(each.reason)) for each in found.left_out],
            notes=[visible(note) for note in found.notes],
            window=found.window,
            samples=found.samples,
            noise=f"{found.noise:g}",
            sigma=f"{found.sigma:.4f}",
            seed=found.seed,
            cost=f"{found.cost.texts:,} texts in {found.cost.passes:,} forward passes, {found.cost.seconds:,.0f} s of computing",
            identity=[(visible(key), visible(value)) for key, value in (*found.model.items(), *found.source.items())],
        )
    )


FORMS = forms(render)
"""What a file is written as, by its ending."""


def _claim(name: str, claim: Claim) -> dict[str, Any]:
    word, kind = verdict(claim)
    return {
        "word": word,
        "kind": kind,
        "says": CLAIMS.get(name, visible(name)),
        "told": "; ".join(part for part in (told(claim.effect), peak_told(claim)) if part),
        "lifts": [visible(lift_told(other, value)) for other, value in claim.lifts.items()],
    }


def _scale(found: Traced, kind: str) -> float:
    """MLPs and attention are drawn alike, so that they can be held against each other."""
    alike = [each for each in found.kinds if (each == "residual") == (kind == "residual")]
    return largest([[value.value for value in row if isinstance(value, Value)] for each in alike for row in found.effect[each]])


def _maps(found: Traced) -> list[dict[str, Any]]:
    made = []
    for kind in found.kinds:
        names = [CLASSES.get(name, name) for name in found.token_classes]
        values = [[found.effect[kind][layer][row] for layer in range(found.layers)] for row in range(len(names))]
        scale = _scale(found, kind)
        made.append({**heat_map(_title(found, kind), names, values, scale), "largest": f"{scale:.3f}"})
    return made


def _title(found: Traced, kind: str) -> str:
    within = "one layer" if kind == "residual" or found.window == 1 else f"{found.window} layers around each"
    return f"{KINDS.get(kind, visible(kind)).capitalize().replace('Mlps', 'MLPs')}, restored in {within}"


def _charts(found: Traced) -> list[dict[str, Any]]:
    at = [float(layer) for layer in range(found.layers)]
    charts = []
    for place, name in (("last_subject", "last subject token"), ("last", "last token")):
        column = found.token_classes.index(place)
        lines = [
            Line(KINDS.get(kind, kind), f"line{number}", at, [row[column] for row in found.effect[kind]])
            for number, kind in enumerate([kind for kind in ("mlp", "attention") if kind in found.kinds])
        ]
        for kind in ("mlp",) if place == "last_subject" else ("attention",):
            if kind in found.kinds:
                lines.append(Line(f"{KINDS[kind]}, random change", "random", at, found.controls.random[place][kind]))
                if place == "last_subject":
                    lines.append(Line(f"{KINDS[kind]}, noise elsewhere", "line3", at, found.controls.elsewhere[kind]))
        if lines:
            charts.append(curve_chart(f"Restored at the {name}, beside controls", "layer", lines, number))
    if not isinstance(found.knockout, Failure):
        lines = [
            Line("to the subject", "line0", at, found.knockout.subject),
            Line("to as many other tokens", "random", at, found.knockout.elsewhere),
        ]
        charts.append(
            curve_chart(f"What the answer loses when the last token cannot attend, {_layers(found.window)}", "layer", lines, number)
        )
    return charts


def _layers(window: int) -> str:
    return "in one layer" if window == 1 else f"in {window} layers around each"


def _lens(found: Traced) -> list[dict[str, Any]]:
    at = [float(layer) for layer in range(found.layers)]
    lens = found.lens
    return [
        curve_chart(
            "Probability of the answer, were the block the last one",
            "layer",
            [Line("the answer", "line0", at, lens.probability), Line("another fact's answer", "random", at, lens.other_probability)],
            number,
        ),
        curve_chart(
            "Its rank in the vocabulary, as a power of ten",
            "layer",
            [Line("the answer", "line0", at, _log10(lens.rank)), Line("another fact's answer", "random", at, _log10(lens.other_rank))],
            lambda value: f"rank {10**value.value:,.1f} [{10**value.low:,.1f}, {10**value.high:,.1f}]",
        ),
        curve_chart("Share of facts of which it is the likeliest", "layer", [Line("the answer", "line0", at, lens.top)], number),
    ]


def _log10(values: Sequence[Value | Failure]) -> list[Value | Failure]:
    return [
        value
        if isinstance(value, Failure)
        else Value(value=float(np.log10(value.value)), low=float(np.log10(value.low)), high=float(np.log10(value.high)), n=value.n)
        for value in values
    ]


def _fact(found: Traced, fact: TracedFact) -> dict[str, Any]:
    """Its own heat maps, a row for each token from the subject on."""
    first = next(place for place, name in enumerate(fact.classes) if name is not None)
    places = range(first, len(fact.tokens))
    names = [
        fact.tokens[place] + ("*" if fact.classes[place] in ("first_subject", "middle_subject", "last_subject") else "") for place in places
    ]
    maps = []
    for kind in found.kinds:
        values = [[row[place] for row in fact.effect[kind]] for place in places]
        scale = largest(values)
        maps.append({**plain_map(_title(found, kind), names, values, scale), "largest": f"{scale:.3f}"})
    return {
        "prompt": visible(fact.prompt),
        "target": visible(fact.target),
        "says": f"{fact.probability:.2f}, with noise {fact.corrupted:.2f}",
        "maps": maps,
    }


def _rows(found: Traced) -> list[tuple[str, str, int | str]]:
    """All figures that are not of one layer alone: name, value, facts."""
    figures: list[tuple[str, Value | Failure]] = [
        ("probability of the answer", found.probability),
        ("with noise on the subject", found.corrupted),
        ("total effect", found.total_effect),
        ("total effect of noise elsewhere", found.controls.elsewhere_total_effect),
    ]
    for name, claim in found.claims.items():
        says = CLAIMS.get(name, name)
        figures.append((f"{says}: effect", claim.effect))
        figures += [(f"{says}: over {LIFTS.get(other, other)}", value) for other, value in claim.lifts.items()]
    return [(visible(name), visible(told(value)), value.n if isinstance(value, Value) else "") for name, value in figures]
