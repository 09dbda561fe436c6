"""A reliability diagram and the histogram below it, for the templates: numbers turned into positions, no markup."""

from typing import Any

from evals.confidence.reliability import Reliability

SIDE = 240.0
"""Of the square, in units of the drawing."""
BARS = 64.0
"""Height of the histogram."""
_WIDTH = 0.02
"""Of a bar: models state multiples of 5 %."""


def diagram(found: Reliability) -> dict[str, Any]:
    """Bins of equal width with their bands, points as large as their bins are full, and the values that were stated.

    x is confidence, y is accuracy, downwards as screens have it; both 0 to SIDE.
    """
    most = max((each.accuracy.n for each in found.equal_width), default=1)
    highest = max((each.n for each in found.histogram), default=1)
    return {
        "side": SIDE,
        "bars": BARS,
        "bins": [
            {
                "left": round(SIDE * each.lower, 1),
                "width": round(SIDE * (each.upper - each.lower), 1),
                "top": _up(each.accuracy.high),
                "height": round(SIDE * (each.accuracy.high - each.accuracy.low), 1),
                "x": round(SIDE * each.mean_confidence, 1),
                "y": _up(each.accuracy.value),
                "meant": _up(each.mean_confidence),
                "size": round(3 + 4 * (each.accuracy.n / most) ** 0.5, 1),
                "label": f"stated {each.mean_confidence:.0%}, right {each.accuracy.value:.0%} "
                f"[{each.accuracy.low:.0%}, {each.accuracy.high:.0%}], {each.accuracy.n} items",
            }
            for each in found.equal_width
        ],
        "stated": [
            {
                "left": round(min(max(SIDE * (each.confidence - _WIDTH / 2), 0), SIDE * (1 - _WIDTH)), 1),
                "width": round(SIDE * _WIDTH, 1),
                "top": round(BARS * (1 - each.n / highest), 1),
                "height": round(BARS * each.n / highest, 1),
                "right_top": round(BARS * (1 - each.n_correct / highest), 1),
                "right_height": round(BARS * each.n_correct / highest, 1),
                "label": f"{each.confidence:.0%} stated for {each.n} items, {each.n_correct} of them right",
            }
            for each in found.histogram
        ],
        "highest": highest,
    }


def _up(share: float) -> float:
    return round(SIDE * (1 - share), 1)
