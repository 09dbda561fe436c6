"""The page of `explicate icl`: of every analysis what is seen and what that does not show, its curves with their bands and its figures."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from evals.icl.results import Analysis, Curve, IclResults
from evals.results import Failure, Value
from explicate.attribution_table import LITTLE_MASS
from explicate.axis import Axis
from explicate.curve_chart import HEIGHT, WIDTH, Level, Line, curve_chart
from explicate.icl_sections import ALPHA, LINES, NAMES, SECTIONS, Claim, Section
from explicate.icl_table import FEW, FEW_DRAWS
from explicate.pages import environment, trusted
from explicate.shaded_words import visible
from explicate.written_file import forms

_MINUS = "_minus_"
LEVELS: Mapping[str, Level] = {"auroc": Level("chance", 0.5)}
"""What a curve is read against."""


def render(found: IclResults) -> str:
    """The whole page."""
    page = environment().get_template("icl.html")
    mass, right = found.label_mass, found.accuracy
    return str(
        page.render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title=f"How {visible(found.model['name'])} answers {visible(found.task.name)} from examples in its context",
            accuracy=_told(right),
            largest_class=f"{found.largest_class:.2f}",
            mass=_told(mass),
            little=isinstance(mass, Value) and mass.value < LITTLE_MASS,
            ignorant=isinstance(right, Value) and right.low <= found.largest_class,
            few=found.items < FEW,
            few_draws=found.seeds < FEW_DRAWS,
            left_out=found.task.left_out,
            asked=[{"label": visible(label), "count": count} for label, count in found.asked.items()],
            items=found.items,
            seeds=found.seeds,
            shots=found.shots,
            chosen=[
                {"label": visible(label), "share": f"{share:.2f}", "width": f"{100 * share:.1f}"} for label, share in found.chosen.items()
            ],
            shown=_shown(found.task.template),
            labels=[visible(label) for label in found.task.labels],
            sections=[_section(found, name, analysis) for name, analysis in found.analyses.items()],
            seed=found.seed,
            identity=[
                (visible(key), visible(value))
                for key, value in (
                    *found.model.items(),
                    ("items", found.task.source),
                    ("task", found.task.digest),
                    *(("note", note) for note in found.notes),
                )
            ],
        )
    )


FORMS = forms(render)
"""What a file is written as, by its ending."""


def _shown(template: str) -> list[dict[str, str]]:
    """[run] of a demonstration as it is written: what is formatting, and where the text and its label stand."""
    before, text, rest = template.partition("{text}")
    between, label, after = rest.partition("{label}")
    runs = (("format", before), ("text", text), ("format", between), ("label", label), ("format", after))
    return [{"kind": kind, "text": "\n".join(map(visible, run.split("\n")))} for kind, run in runs if run]


def _section(found: IclResults, name: str, analysis: Analysis) -> dict[str, Any]:
    told = SECTIONS.get(name, Section(_words(name)))
    pairs = _pairs(analysis.figures, found.task.labels)
    apart = {f"{kind}/{pair}" for pair in pairs for kind in ("measured", "predicted")}
    figures = {name: value for name, value in analysis.figures.items() if name not in apart}
    return {
        "name": visible(name),
        "title": told.title,
        "claims": _claims(told, analysis, figures),
        "silent": told.silent,
        "charts": _charts(analysis, told),
        "groups": _groups(figures),
        "scatter": _scatter(pairs),
        "pairs": [{"name": visible(pair), **{kind: _told(value) for kind, value in both.items()}} for pair, both in pairs.items()],
        "notes": [visible(note) for note in analysis.notes],
        "failure": None if analysis.failure is None else visible(analysis.failure.reason),
        "figures": [
            {"name": visible(name), "told": _told(value), "n": "" if isinstance(value, Failure) else value.n}
            for name, value in analysis.figures.items()
        ],
    }


def _claims(told: Section, analysis: Analysis, figures: Mapping[str, Value | Failure]) -> list[dict[str, Any]]:
    if analysis.failure is not None:
        return [_seen(claim, analysis.failure, None, {}) for claim in told.claims]
    p_values = analysis.p_values
    return [_seen(claim, figures[claim.figure], p_values.get(claim.figure), figures) for claim in told.claims if claim.figure in figures]


def _seen(claim: Claim, value: Value | Failure, p: float | None, figures: Mapping[str, Value | Failure]) -> dict[str, Any]:
    """Whether the interval lies above the level, below it or around it; above it is not enough where p must be small too, or other
    figures above 0."""
    controls = [figures.get(name) for name in claim.only_with]
    explained = claim.tested and (p is None or p >= ALPHA)
    explained |= not all(isinstance(control, Value) and control.low > 0 for control in controls)
    if isinstance(value, Failure):
        word, kind = "Not measured", "bad"
    elif value.low > claim.level:
        word, kind = ("Not seen", "dim") if explained else ("Seen", "good")
    elif value.high < claim.level:
        word, kind = "The opposite is seen", "bad"
    else:
        word, kind = "Not seen", "dim"
    return {"word": word, "kind": kind, "says": claim.says, "told": _told(value) + ("" if p is None else f", p = {p:.3g}")}


def _charts(analysis: Analysis, told: Section) -> list[dict[str, Any]]:
    """Curves that belong together and have the same places, in one drawing."""
    charts: dict[tuple[str, str, tuple[float, ...]], dict[str, Curve]] = {}
    for name, curve in analysis.curves.items():
        title = told.charts.get(name) or _words(name.rpartition("/")[0] or name)
        charts.setdefault((title, curve.over, tuple(curve.at)), {})[name] = curve
    return [_chart(title, over, at, curves, _level(next(iter(curves)), analysis)) for (title, over, at), curves in charts.items()]


def _level(name: str, analysis: Analysis) -> Level | None:
    whole = analysis.figures.get(f"{name.partition('/')[0]}/full")
    return Level(NAMES["full"], whole.value) if isinstance(whole, Value) else LEVELS.get(name)


def _chart(title: str, over: str, at: Sequence[float], curves: Mapping[str, Curve], level: Level | None) -> dict[str, Any]:
    lines = []
    for place, (name, curve) in enumerate(curves.items()):
        last = name.rpartition("/")[2].removesuffix("_by_head")
        kind = "random" if last == "random" else f"line{place % 4}"
        lines.append(Line(LINES.get(last) or _words(last), kind, at, curve.values))
    return curve_chart(_heading(title), over, lines, _number, levels=[] if level is None else [level])


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT * (1 - axis.place(value) / 100), 1)


def _groups(figures: Mapping[str, Value | Failure]) -> list[dict[str, Any]]:
    """Figures of the same measure as bars beside one another; differences by themselves."""
    groups: dict[tuple[str, bool], dict[str, Value | Failure]] = {}
    for name, value in figures.items():
        measure, _, rest = name.partition("/") if "/" in name else ("", "", name)
        groups.setdefault((measure, _MINUS in rest), {})[rest] = value
    told = []
    for (measure, difference), values in groups.items():
        kind = "differences" if difference else "figures"
        title = _words(measure) + (f", {kind}" if difference else "") if measure else kind
        told.append({"title": _heading(title), **_bars(values)})
    return told


def _bars(values: Mapping[str, Value | Failure]) -> dict[str, Any]:
    """Each from 0 to its value, with its interval, as percentages of an axis."""
    known = [value for value in values.values() if isinstance(value, Value)]
    axis = Axis.of((end for value in known for end in (value.low, value.value, value.high)), ticks=4)
    zero, rows = axis.place(0.0), []
    for name, value in values.items():
        row: dict[str, Any] = {"name": _words(name), "told": _told(value), "against": isinstance(value, Value) and value.value < 0}
        if isinstance(value, Value):
            at, low, high = (axis.place(end) for end in (value.value, value.low, value.high))
            row |= {"left": min(at, zero), "width": round(abs(at - zero), 2), "low": low, "error": round(high - low, 2)}
            row |= {"value": _short(value.value), "interval": f"[{_short(value.low)}, {_short(value.high)}]"}
        rows.append(row)
    large = axis.high >= 1000
    ticks = [
        {"at": tick["at"], "text": _short(float(str(tick["text"]))) if large and tick["text"] != "0" else tick["text"]}
        for tick in axis.ticks
    ]
    return {"rows": rows, "ticks": ticks if known else [], "zero": zero}


def _pairs(figures: Mapping[str, Value | Failure], labels: Sequence[str]) -> dict[str, dict[str, Value | Failure]]:
    """Of every two labels how they are told apart, as `measured` and, where there are enough of them, as `predicted`."""
    told = {}
    for one, other in combinations(labels, 2):
        pair = f"{one}/{other}"
        both = {kind: figures[f"{kind}/{pair}"] for kind in ("measured", "predicted") if f"{kind}/{pair}" in figures}
        if both:
            told[pair] = both
    return told


def _scatter(pairs: Mapping[str, Mapping[str, Value | Failure]]) -> dict[str, Any] | None:
    """x is what is predicted, y what is measured, each pair with its number in the table; None where no pair has both."""
    points = []
    for number, both in enumerate(pairs.values(), 1):
        predicted, measured = both.get("predicted"), both.get("measured")
        if isinstance(predicted, Value) and isinstance(measured, Value):
            points.append((number, predicted, measured))
    if not points:
        return None
    across = Axis.of((end for _, value, _ in points for end in (value.low, value.value, value.high)), ticks=4)
    up = Axis.of([0.5, *(end for _, _, value in points for end in (value.low, value.value, value.high))], ticks=4)

    def x(value: float) -> float:
        return round(WIDTH * across.place(value) / 100, 1)

    return {
        "points": [
            {"number": number, "x": x(predicted.value), "left": x(predicted.low), "right": x(predicted.high)}
            | {"y": _y(up, measured.value), "low": _y(up, measured.low), "high": _y(up, measured.high)}
            for number, predicted, measured in points
        ],
        "x": [{"at": round(WIDTH * float(str(tick["at"])) / 100, 1), "text": tick["text"]} for tick in across.ticks],
        "y": [{"at": round(HEIGHT * (1 - float(str(tick["at"])) / 100), 1), "text": tick["text"]} for tick in up.ticks],
        "chance": _y(up, 0.5),
        "width": WIDTH,
        "height": HEIGHT,
    }


def _words(name: str) -> str:
    """A figure's name, or a part of one, for people."""
    pieces = [" − ".join(NAMES.get(part, part.replace("_", " ")) for part in piece.split(_MINUS)) for piece in name.split("/")]
    return visible(", ".join(pieces))


def _heading(words: str) -> str:
    return words[:1].upper() + words[1:]


def _told(value: Value | Failure) -> str:
    return f"none: {visible(value.reason)}" if isinstance(value, Failure) else _number(value)


def _number(value: Value) -> str:
    return f"{_short(value.value)} [{_short(value.low)}, {_short(value.high)}]"


def _short(value: float) -> str:
    """Two decimals, fewer of large numbers, and no minus before a zero."""
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{sign}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{round(value, 2) + 0.0:.2f}"
