"""Points in a plane as SVG, each with its label for who points at it.

Every point has its label as its title, so that the drawing needs no script; scatter.js tells it at once, and shows one kind alone.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from math import floor, isfinite, log10

from explicate.pages import source
from explicate.shaded_words import visible

Point = tuple[float, float]
Bounds = tuple[float, float, float, float]
"""Least and most x, least and most y."""

COLOURS = 10
"""In scatter.css; as many further kinds have them as rings, and what is left has none."""
LONGEST = 160
"""Characters of a label that are kept, so that a page stays small."""
TICKS = 5
"""Steps between round numbers, about, at most."""
_LEFT, _BELOW, _ROOM = 44.0, 34.0, 8.0
"""Room for numbers to the left and below; elsewhere a little."""


def is_scatter(drawn: str) -> bool:
    """Whether a drawing is one of these, so that its page needs their script."""
    return '<div class="scatter' in drawn


def digest_of_script() -> str:
    """SHA-256 of scatter.js, as a page names the only script that it lets run."""
    return base64.b64encode(hashlib.sha256(source("scatter.js").encode()).digest()).decode()


def scatter(
    points: Sequence[Point],
    *,
    labels: Sequence[str],
    kinds: Sequence[str] | None = None,
    colours: Mapping[str, str] | None = None,
    x: str = "",
    y: str = "",
    square: bool = False,
    ticks: bool = True,
    under: str = "",
    bounds: Bounds | None = None,
    width: float = 480.0,
    height: float | None = None,
    title: str = "",
    legend: bool = True,
) -> str:
    """Points [point] with x to the right and y upwards, all text escaped, the kinds below it with how many there are of each.

    labels: [point] told on hover. kinds: [point] what each is, which gives it its colour, by default all the same. colours: CSS by kind;
    the others have those of scatter.css, the commonest first. x, y: names of the axes. square: the same scale in both directions. under:
    trusted SVG in units of the points, drawn beneath them, such as coastlines. bounds: by default what fits; points beyond are drawn at the
    edge. height: by default that of a square with `square`, else three quarters of the width. Raises ValueError where labels or kinds are
    not one for each point, or a point is not finite.
    """
    kinds = [""] * len(points) if kinds is None else kinds
    if not len(points) == len(labels) == len(kinds):
        raise ValueError(f"{len(points)} points, {len(labels)} labels and {len(kinds)} kinds")
    if not all(isfinite(end) for point in points for end in point):
        raise ValueError("a point is not finite")
    margin, below = (_LEFT, _BELOW) if ticks else (_ROOM, _BELOW / 2 if x else _ROOM)
    across = width - margin - _ROOM
    up = (across if square else 0.75 * width) if height is None else height - below - _ROOM
    left, right, low, high = _fitting(points, bounds, across / up if square else None)

    def to_x(value: float) -> float:
        return across * (min(max(value, left), right) - left) / (right - left)

    def to_y(value: float) -> float:
        return up * (high - min(max(value, low), high)) / (high - low)

    size = 4.5 if len(points) <= 60 else 3.5 if len(points) <= 400 else 2.6
    grid = [
        *(f'<line class="tick" x1="{to_x(at):.1f}" x2="{to_x(at):.1f}" y1="0" y2="{up:.1f}"/>' for at in _round(left, right)),
        *(f'<line class="tick" x1="0" x2="{across:.1f}" y1="{to_y(at):.1f}" y2="{to_y(at):.1f}"/>' for at in _round(low, high)),
        *(f'<text x="{to_x(at):.1f}" y="{up + 14:.1f}" text-anchor="middle">{at:g}</text>' for at in _round(left, right)),
        *(f'<text x="-6" y="{to_y(at) + 4:.1f}" text-anchor="end">{at:g}</text>' for at in _round(low, high)),
    ]
    place = f"matrix({across / (right - left):.6g} 0 0 {-up / (high - low):.6g} {to_x(left) - across * left / (right - left):.6g} "
    beneath = f'<g class="under" transform="{place}{up * high / (high - low):.6g})">{under}</g>' if under else ""
    drawn = [
        f"<g {look}>"
        + "".join(
            f'<circle cx="{to_x(point[0]):.1f}" cy="{to_y(point[1]):.1f}" r="{size}"><title>{_told(label, kind)}</title></circle>'
            for point, label, own in zip(points, labels, kinds, strict=True)
            if own == kind
        )
        + "</g>"
        for kind, look in _looks(kinds, colours or {}).items()
    ]
    names = (
        f'<text class="axis" x="{across:.1f}" y="{up + below - 5:.1f}" text-anchor="end">{_text(x)}</text>' if x else "",
        f'<text class="axis" x="0" y="-5" text-anchor="start">{_text(y)}</text>' if y else "",
    )
    top = 18.0 if y else _ROOM
    return (
        f'<div class="scatter" style="max-width: {1.4 * width:.0f}px">'
        f'<svg viewBox="{-margin:g} {-top:g} {width:g} {up + below + top:.1f}" role="img" aria-label="{_text(title)}">'
        f'<rect class="frame" width="{across:.1f}" height="{up:.1f}"/>'
        + ("".join(grid) if ticks else "")
        + beneath
        + "".join(drawn)
        + "".join(names)
        + "</svg>"
        + (legend_of(kinds, colours=colours) if legend else "")
        + "</div>"
    )


def legend_of(kinds: Sequence[str], *, colours: Mapping[str, str] | None = None) -> str:
    """The kinds with their colours and how many there are of each, as `scatter` has them; nothing where no kind has a name."""
    counts = Counter(kinds)
    if set(counts) <= {""}:
        return ""
    shown = "".join(
        f"<span {look}><i></i>{_text(kind) or 'none'} <small>{counts[kind]}</small></span> "
        for kind, look in _looks(kinds, colours or {}).items()
    )
    return f'<p class="kinds small">{shown}</p>'


def _looks(kinds: Sequence[str], colours: Mapping[str, str]) -> dict[str, str]:
    """Attributes of each kind's group: first those with colours of their own, in their order, then the others, the commonest first."""
    counts = Counter(kinds)
    looks: dict[str, str] = {}
    for kind in colours:
        if kind in counts:
            looks[kind] = f'class="kind" style="--k: {escape(colours[kind])}" data-k="{len(looks)}"'
    others = sorted((kind for kind in counts if kind not in looks), key=lambda kind: (-counts[kind], kind))
    for place, kind in enumerate(others):
        look = "rest" if place >= 2 * COLOURS else f"k{place % COLOURS}{' ring' if place >= COLOURS else ''}"
        looks[kind] = f'class="kind {look}" data-k="{len(looks)}"'
    return looks


def _told(label: str, kind: str) -> str:
    short = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
    return _text(f"{short} ({kind})" if kind else short)


def _text(text: str) -> str:
    return escape(visible(text))


def _fitting(points: Sequence[Point], bounds: Bounds | None, shape: float | None) -> Bounds:
    """With some room around the points; shape: width to height, where both directions have the same scale."""
    if bounds is None:
        ends = []
        for values in zip(*points, strict=True) if points else ((0.0,), (0.0,)):
            least, most = min(values), max(values)
            room = 0.04 * (most - least) or 0.5 * max(abs(most), 1e-6)
            ends += [least - room, most + room]
        left, right, low, high = ends
    else:
        left, right, low, high = bounds
    if right <= left or high <= low:
        raise ValueError(f"bounds {left}, {right}, {low}, {high} have no area")
    if shape is not None:
        across, up = max(right - left, shape * (high - low)), max(high - low, (right - left) / shape)
        middle, centre = (left + right) / 2, (low + high) / 2
        left, right, low, high = middle - across / 2, middle + across / 2, centre - up / 2, centre + up / 2
    return left, right, low, high


def _round(least: float, most: float) -> list[float]:
    """Round numbers between two ends."""
    size = 10.0 ** floor(log10((most - least) / TICKS))
    step = next(each * size for each in (1, 2, 2.5, 5, 10) if most - least <= TICKS * each * size * (1 + 1e-9))
    first = floor(least / step) + (0 if least / step == floor(least / step) else 1)
    return [round(number * step, 10) + 0.0 for number in range(first, floor(most / step + 1e-9) + 1)]
