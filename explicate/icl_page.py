"""The page of `explicate icl`: of every analysis what is seen and what that does not show, its curves with their bands and its figures."""

from collections.abc import Mapping, Sequence
from itertools import combinations, groupby
from typing import Any

from evals.icl.results import Analysis, Curve, IclResults
from evals.results import Failure, Value
from explicate.attribution_table import LITTLE_MASS
from explicate.axis import Axis
from explicate.icl_sections import ALPHA, LINES, NAMES, SECTIONS, Claim, Section
from explicate.icl_table import FEW_DRAWS
from explicate.pages import environment, trusted
from explicate.shaded_words import visible

WIDTH, HEIGHT = 300.0, 150.0
"""Of a drawing, without room for numbers."""
TICKS = 6
"""Places of a curve with a number below."""
FEW = 20
"""Items below which the page warns of its intervals."""
_MINUS = "_minus_"
LEVELS: Mapping[str, tuple[float, str]] = {"auroc": (0.5, "chance")}
"""What a curve is read against."""


def render(found: IclResults) -> str:
    """The whole page."""
    page = environment().get_template("icl.html")
    mass, right = found.label_mass, found.accuracy
    return str(
        page.render(
            css=trusted("style.css"),
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
                for key, value in (*found.model.items(), ("items", found.task.source), ("task", found.task.digest))
            ],
        )
    )


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
        return [_seen(claim, analysis.failure, None) for claim in told.claims]
    return [_seen(claim, figures[claim.figure], analysis.p_values.get(claim.figure)) for claim in told.claims if claim.figure in figures]


def _seen(claim: Claim, value: Value | Failure, p: float | None) -> dict[str, Any]:
    """Whether the interval lies above the level, below it or around it; above it is not enough where p must be small too."""
    if isinstance(value, Failure):
        word, kind = "Not measured", "bad"
    elif claim.tested and value.low > claim.level and (p is None or p >= ALPHA):
        word, kind = "Not seen", "dim"
    elif value.low > claim.level:
        word, kind = "Seen", "good"
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


def _level(name: str, analysis: Analysis) -> tuple[float, str] | None:
    whole = analysis.figures.get(f"{name.partition('/')[0]}/full")
    return (whole.value, NAMES["full"]) if isinstance(whole, Value) else LEVELS.get(name)


def _chart(title: str, over: str, at: Sequence[float], curves: Mapping[str, Curve], level: tuple[float, str] | None) -> dict[str, Any]:
    """x to the right, y downwards; a line and its band are broken where a value failed."""
    known = [value for curve in curves.values() for value in curve.values if isinstance(value, Value)]
    axis = Axis.of([end for value in known for end in (value.low, value.value, value.high)] + ([level[0]] if level else []), ticks=4)
    least, most = min(at, default=0.0), max(at, default=0.0)

    def x(place: float) -> float:
        return round(WIDTH * (place - least) / (most - least) if most > least else WIDTH / 2, 1)

    lines = []
    for number, (name, curve) in enumerate(curves.items()):
        points = sorted(zip(curve.at, curve.values, strict=True), key=lambda point: point[0])
        shown = [[(x(place), value) for place, value in run if isinstance(value, Value)] for run in _runs(points)]
        last = name.rpartition("/")[2].removesuffix("_by_head")
        told = LINES.get(last) or _words(last)
        lines.append(
            {
                "name": told,
                "kind": "random" if last == "random" else f"line{number % 4}",
                "paths": [" ".join(f"{left},{_y(axis, value.value)}" for left, value in run) for run in shown],
                "bands": [
                    " ".join(f"{left},{_y(axis, value.low)}" for left, value in run)
                    + " "
                    + " ".join(f"{left},{_y(axis, value.high)}" for left, value in reversed(run))
                    for run in shown
                ],
                "points": [
                    {"x": x(place), "y": _y(axis, value.value), "says": f"{told}, {visible(over)} {place:g}: {_number(value)}"}
                    for place, value in points
                    if isinstance(value, Value)
                ],
                "failed": _failures([value for _, value in points]),
            }
        )
    places = sorted(set(at))
    spread = sorted({round(step * (len(places) - 1) / (TICKS - 1)) for step in range(TICKS)}) if places else []
    return {
        "title": _heading(title),
        "over": visible(over),
        "any": bool(known),
        "lines": lines,
        "level": None if level is None else {"y": _y(axis, level[0]), "name": level[1]},
        "y": [{"at": round(HEIGHT * (1 - float(str(tick["at"])) / 100), 1), "text": tick["text"]} for tick in axis.ticks],
        "x": [{"at": x(places[place]), "text": f"{places[place]:g}"} for place in spread],
        "width": WIDTH,
        "height": HEIGHT,
    }


def _runs(points: Sequence[tuple[float, Value | Failure]]) -> list[list[tuple[float, Value | Failure]]]:
    """Values that stand beside one another."""
    return [list(run) for failed, run in groupby(points, key=lambda point: isinstance(point[1], Failure)) if not failed]


def _failures(values: Sequence[Value | Failure]) -> list[str]:
    reasons = [value.reason for value in values if isinstance(value, Failure)]
    return [f"none at {reasons.count(reason)} of {len(values)}: {visible(reason)}" for reason in dict.fromkeys(reasons)]


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
