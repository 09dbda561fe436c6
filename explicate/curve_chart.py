"""Curves with their bands over the same places, for the templates: numbers turned into positions, no markup."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from evals.results import Failure, Value
from explicate.axis import Axis
from explicate.shaded_words import visible

WIDTH, HEIGHT = 300.0, 150.0
"""Of a drawing, without room for numbers."""
TICKS = 6
"""Places of a curve with a number below."""
APART = 17.0
"""Least distance of names that stand below one another."""


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    kind: str
    """Its class in the style sheet: line0, ..., random."""
    at: Sequence[float]
    values: Sequence[Value | Failure]
    """[place]"""


@dataclass(frozen=True)
class Level:
    """What curves are read against: a value without a place."""

    name: str
    value: float


def curve_chart(
    title: str,
    over: str,
    lines: Sequence[Line],
    number: Callable[[Value], str],
    *,
    levels: Sequence[Level] = (),
    marked: float | None = None,
    width: float = WIDTH,
    height: float = HEIGHT,
    beside: float = 0.0,
) -> dict[str, Any]:
    """x to the right, y downwards; a line and its band are broken where a value failed.

    over: what the places are. number: how a value is told. marked: a place with a line of its own. beside: room to the right in which the
    names of the levels stand; without it they stand in the legend.
    """
    at = [place for line in lines for place in line.at]
    known = [value for line in lines for value in line.values if isinstance(value, Value)]
    axis = Axis.of([end for value in known for end in (value.low, value.value, value.high)] + [level.value for level in levels], ticks=4)
    least, most = min(at, default=0.0), max(at, default=0.0)

    def x(place: float) -> float:
        return round(width * (place - least) / (most - least) if most > least else width / 2, 1)

    def y(value: float) -> float:
        return round(height * (1 - axis.place(value) / 100), 1)

    places = sorted(set(at))
    spread = sorted({round(step * (len(places) - 1) / (TICKS - 1)) for step in range(TICKS)}) if places else []
    named = _apart([y(level.value) for level in levels], height)
    return {
        "title": title,
        "over": visible(over),
        "any": bool(known),
        "lines": [_drawn(line, over, number, x, y) for line in lines],
        "levels": [{"y": y(level.value), "name": level.name, "name_y": stands} for level, stands in zip(levels, named, strict=True)],
        "marked": None if marked is None else x(marked),
        "y": [{"at": round(height * (1 - float(str(tick["at"])) / 100), 1), "text": tick["text"]} for tick in axis.ticks],
        "x": [{"at": x(places[place]), "text": f"{places[place]:g}"} for place in spread],
        "width": width,
        "height": height,
        "beside": beside,
    }


def _drawn(
    line: Line, over: str, number: Callable[[Value], str], x: Callable[[float], float], y: Callable[[float], float]
) -> dict[str, Any]:
    points = sorted(zip(line.at, line.values, strict=True), key=lambda point: point[0])
    shown = [[(x(place), value) for place, value in run if isinstance(value, Value)] for run in _runs(points)]
    return {
        "name": line.name,
        "kind": line.kind,
        "paths": [" ".join(f"{left},{y(value.value)}" for left, value in run) for run in shown],
        "bands": [
            " ".join(f"{left},{y(value.low)}" for left, value in run)
            + " "
            + " ".join(f"{left},{y(value.high)}" for left, value in reversed(run))
            for run in shown
        ],
        "points": [
            {"x": x(place), "y": y(value.value), "says": f"{line.name}, {visible(over)} {place:g}: {number(value)}"}
            for place, value in points
            if isinstance(value, Value)
        ],
        "failed": failures([value for _, value in points]),
    }


def _runs(points: Sequence[tuple[float, Value | Failure]]) -> list[list[tuple[float, Value | Failure]]]:
    """Values that stand beside one another."""
    return [list(run) for failed, run in groupby(points, key=lambda point: isinstance(point[1], Failure)) if not failed]


def failures(values: Sequence[Value | Failure]) -> list[str]:
    """Each reason with how many there are of it."""
    reasons = [value.reason for value in values if isinstance(value, Failure)]
    return [f"none at {reasons.count(reason)} of {len(values)}: {visible(reason)}" for reason in dict.fromkeys(reasons)]


def _apart(wanted: Sequence[float], height: float) -> list[float]:
    """[name] where each stands, as near as may be to where it is wanted, downwards, none over another and none below the drawing."""
    order = sorted(range(len(wanted)), key=lambda each: wanted[each])
    stands, least = list(wanted), float("-inf")
    for each in order:
        stands[each] = least = max(wanted[each], least + APART)
    most = height + APART / 2
    for each in reversed(order):
        stands[each] = min(stands[each], most)
        most = stands[each] - APART
    return [round(each, 1) for each in stands]
