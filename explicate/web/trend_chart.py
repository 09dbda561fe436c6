"""The history of a metric as a line in its interval's band, for the templates: numbers turned into positions, no markup.

A run in which the metric failed breaks the line and stands at the foot as a mark of its own; it never has a height.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from evals.results import Failure, Value

_EDGE = 3.0
"""Room around the drawing, for dots on its edge."""
_TICKS = 4
"""Steps between the numbers of a chart, about."""


@dataclass(frozen=True)
class Size:
    """Of a drawing, in its own units; left and bottom: room for numbers."""

    width: float
    height: float
    left: float = _EDGE
    bottom: float = _EDGE
    right: float = _EDGE
    top: float = _EDGE


SPARKLINE = Size(132, 34)
CHART = Size(860, 250, left=46, bottom=26, right=14, top=12)


def trend(values: Sequence[Value | Failure], size: Size = SPARKLINE, *, baseline: Value | None = None) -> dict[str, Any] | None:
    """[run] oldest first, as positions from the left upper corner; None where no run has a number.

    points: [run] x, y, y of `low` and `high` (None where it failed); lines and bands: unbroken stretches, as SVG points.
    """
    known = [each for each in values if isinstance(each, Value)]
    if not known:
        return None
    shown = [*known, baseline] if baseline is not None else known
    low, high = min(each.low for each in shown), max(each.high for each in shown)
    if high == low:
        low, high = low - 0.5, high + 0.5
    inner = size.width - size.left - size.right
    step = inner / max(len(values) - 1, 1)
    start = size.left if len(values) > 1 else size.left + inner / 2

    def down(value: float) -> float:
        return round(size.top + (size.height - size.top - size.bottom) * (high - value) / (high - low), 1)

    points = [
        {"x": round(start + step * at, 1)}
        | (
            {"y": down(each.value), "low": down(each.low), "high": down(each.high)}
            if isinstance(each, Value)
            else {"y": None, "low": None, "high": None}
        )
        for at, each in enumerate(values)
    ]
    stretches = _stretches(points)
    return {
        "width": size.width,
        "height": size.height,
        "left": size.left,
        "right": size.width - size.right,
        "foot": size.height - size.bottom,
        "points": points,
        "lines": [" ".join(f"{each['x']},{each['y']}" for each in part) for part in stretches if len(part) > 1],
        "bands": [
            " ".join([f"{each['x']},{each['high']}" for each in part] + [f"{each['x']},{each['low']}" for each in reversed(part)])
            for part in stretches
            if len(part) > 1
        ],
        "alone": [part[0] for part in stretches if len(part) == 1],
        "failed": [each["x"] for each in points if each["y"] is None],
        "last": next(each for each in reversed(points) if each["y"] is not None),
        "ended": points[-1]["y"] is not None,
        "baseline": None if baseline is None else down(baseline.value),
        "ticks": [{"y": down(number), "text": f"{number:g}"} for number in _ticks(low, high)],
    }


def _stretches(points: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs of points between failures."""
    found: list[list[dict[str, Any]]] = [[]]
    for point in points:
        if point["y"] is None:
            found.append([])
        else:
            found[-1].append(point)
    return [part for part in found if part]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the two, about _TICKS steps apart."""
    size = 10.0 ** floor(log10((high - low) / _TICKS))
    step = next(each * size for each in (1, 2, 2.5, 5, 10) if high - low <= _TICKS * each * size * (1 + 1e-9))
    return [round(at * step, 10) + 0.0 for at in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
