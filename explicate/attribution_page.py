"""The page of an attribution: the text shaded by every method, its units with their standard errors, and what two do only together."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from evals.attribute import Attributed, AttributedBy, Interaction
from explicate.attribution_table import LITTLE_MASS, READ, drawn_sentence, evaluated_sentence, orders_sentence
from explicate.axis import Axis
from explicate.pages import environment, trusted
from explicate.shaded_words import QUIET, shares, visible
from explicate.written_file import forms

BARS = 40
"""Units drawn as bars, the largest ones, in order of the text; all of them are shaded in the text."""
ARCS = 24
"""Interactions drawn, the largest ones."""
LISTED = 12
"""Interactions listed below the arcs."""
STEP, LEAST_STEP, LEAD, ROOM = 46.0, 22.0, 30.0, 850.0
"""Room of a unit below the arcs at most and at least, room before the first one and of all of them, in units of the drawing."""
LABEL = 18
"""Characters of a unit below the arcs."""


def render(found: Attributed) -> str:
    """The whole page."""
    page = environment().get_template("attribution.html")
    places = _places(found.text, found.units)
    return str(
        page.render(
            css=trusted("style.css"),
            title=f"Which units of the text decide for {visible(found.label)}?",
            model=visible(found.model["model"]),
            identity=[(visible(key), visible(value)) for key, value in found.model.items()],
            belief=READ[found.belief],
            value=found.value,
            label=visible(found.label),
            probabilities=_probabilities(found),
            mass=None if found.label_mass is None else f"{found.label_mass:.1%}",
            little=found.label_mass is not None and found.label_mass < LITTLE_MASS,
            readings=[{"name": name, "runs": _runs(found, by, places)} for name, by in found.methods.items()],
            shown=min(BARS, len(found.units)),
            n_units=len(found.units),
            notes=list(map(visible, found.notes)),
            orders=visible(orders_sentence(found)),
            operator=found.operator,
            methods=[{"name": name, "sets": by.sets, **_bars(found.units, by)} for name, by in found.methods.items()],
            arcs=_arcs(found.units, found.interactions) if found.interactions else None,
            pairs=[_pair(found.units, each) for each in (found.interactions or [])[:LISTED]],
            evaluated=f"{evaluated_sentence(found)}{drawn_sentence(found.methods, 'texts')}; seed {found.seed}; prompt {found.prompt}.",
        )
    )


FORMS = forms(render)
"""What a file is written as, by its ending."""


def _probabilities(found: Attributed) -> list[dict[str, Any]]:
    """Of the labels, likeliest first."""
    ordered = sorted(found.probabilities.items(), key=lambda each: -each[1])
    return [{"label": visible(label), "p": f"{p:.2f}", "width": f"{100 * p:.1f}", "chosen": label == found.label} for label, p in ordered]


def _places(text: str, units: Sequence[str]) -> list[int] | None:
    """[unit] where each begins; None where the units are not of the text, as demonstrations are not."""
    places, end = [], 0
    for unit in units:
        at = text.find(unit, end)
        if at < 0:
            return None
        places.append(at)
        end = at + len(unit)
    return places


def _runs(found: Attributed, by: AttributedBy, places: Sequence[int] | None) -> list[dict[str, Any]]:
    """The text as it stands, its units shaded; units on lines of their own where they are not of the text."""
    gaps = ["\n"] * (len(found.units) - 1) + [""]
    before = ""
    if places is not None:
        ends = [at + len(unit) for at, unit in zip(places, found.units, strict=True)]
        before = found.text[: places[0]] if places else found.text
        gaps = [found.text[end:at] for end, (_, at) in zip(ends, pairwise(places), strict=False)] + [found.text[ends[-1] :] if ends else ""]
    runs: list[dict[str, Any]] = [{"text": _spaced(before)}]
    for number, (unit, share, gap) in enumerate(zip(found.units, shares(by.values), gaps, strict=True)):
        run: dict[str, Any] = {"text": visible(unit)}
        if abs(share) >= QUIET:
            run |= {"for": f"{max(share, 0):.2f}", "against": f"{max(-share, 0):.2f}", "title": _number(by, number)}
        runs += [run, {"text": _spaced(gap)}]
    return [run for run in runs if run["text"]]


def _spaced(gap: str) -> str:
    """What stands between units: line ends stay."""
    return "\n".join(map(visible, gap.split("\n")))


def _number(by: AttributedBy, unit: int) -> str:
    return f"{by.values[unit]:+.3f}" + ("" if by.errors is None else f" ± {by.errors[unit]:.3f}")


def _bars(units: Sequence[str], by: AttributedBy) -> dict[str, Any]:
    """The largest units in order of the text, each a bar from 0 with its standard error."""
    largest = sorted(sorted(range(len(units)), key=lambda unit: -abs(by.values[unit]))[:BARS])
    errors = by.errors or [0.0] * len(units)
    axis = Axis.of((by.values[unit] + sign * errors[unit] for unit in largest for sign in (-1, 1)), ticks=4)
    zero, rows = axis.place(0.0), []
    for unit in largest:
        value, error = by.values[unit], errors[unit]
        at, low, high = axis.place(value), axis.place(value - error), axis.place(value + error)
        rows.append(
            {
                "name": visible(units[unit]),
                "against": value < 0,
                "left": min(at, zero),
                "width": round(abs(at - zero), 2),
                "low": low,
                "error": round(high - low, 2) if by.errors is not None else 0,
                "value": f"{round(value, 2) + 0.0:+.2f}",
                "deviation": "" if by.errors is None else f"± {error:.2f}",
            }
        )
    return {"rows": rows, "ticks": axis.ticks, "zero": zero}


def _arcs(units: Sequence[str], pairs: Sequence[Interaction]) -> dict[str, Any]:
    """The largest interactions as arcs over the units, as wide as they are large; x to the right, y downwards."""
    shown = pairs[:ARCS]
    largest = max((abs(each.value) for each in shown), default=0.0) or 1.0
    widest = max((abs(each.units[1] - each.units[0]) for each in shown), default=1)
    step = min(STEP, max(LEAST_STEP, ROOM / len(units)))
    base = 20 + step / 2 * min(widest, 8)
    arcs = []
    for each in reversed(shown):
        a, b = sorted(each.units)
        left, right = LEAD + a * step, LEAD + b * step
        radius = (right - left) / 2
        arcs.append(
            {
                "path": f"M {left:.1f} {base:.1f} A {radius:.1f} {min(radius, base - 12):.1f} 0 0 1 {right:.1f} {base:.1f}",
                "width": f"{0.75 + 5 * abs(each.value) / largest:.2f}",
                "opacity": f"{0.25 + 0.65 * abs(each.value) / largest:.2f}",
                "against": each.value < 0,
                "title": " … ".join(visible(units[unit]) for unit in (a, b)) + f": {each.value:+.3f}",
            }
        )
    names = [visible(unit) for unit in units]
    labels = [
        {"x": round(LEAD + place * step, 1), "y": round(base + 14, 1), "text": name[:LABEL] + ("…" if len(name) > LABEL else "")}
        for place, name in enumerate(names)
    ]
    return {
        "arcs": arcs,
        "labels": labels,
        "width": round(2 * LEAD + step * len(units) + 40),
        "height": round(base + 110),
        "shown": len(shown),
    }


def _pair(units: Sequence[str], pair: Interaction) -> dict[str, Any]:
    a, b = sorted(pair.units)
    return {"a": visible(units[a]), "b": visible(units[b]), "value": f"{pair.value:+.3f}"}
