"""A drawing of attention for papers, as SVG: all heads side by side with their roles, and so what they write and what a target gains by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from analyzers.attention import Role
from evals.attention import Attention, HeadRoles
from explicate.shaded_words import visible

Array = np.ndarray[Any, Any]

SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Share of attention from which a cell of the overview is a shade darker. With fewer, larger classes its size stays bounded: a query has
at most 32 cells in them. Value norms and gradients are relative to the largest of their square: there small lengths at much attention,
for want of anything better, show as small."""
FIELDS = 64
"""Cells of a side in the overview at most; of longer texts several tokens share one, which shows the largest of them."""
COLOURS: dict[Role, str] = {
    "previous": "#2c73d2",
    "next": "#1a7343",
    "first": "#5d6878",
    "self": "#0b8a94",
    "duplicate": "#a63a9e",
    "induction": "#d96c0a",
}
"""Of roles, on white."""
SIDE, GAP, LEAD, TOP = 60, 10, 34, 78
"""Of a panel in pixels: a head, the room between two with the line above it, what stands left of the heads and above them."""
LINE = 15
_INK, _DIM, _BLUE = "#1b2330", "#5d6878", "#2c73d2"
_UNWRITABLE = dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")


@dataclass(frozen=True)
class _Panel:
    """Squares below a title."""

    title: str
    says: str
    of: str
    """What a shade is a share of, where that is not said by the title."""
    squares: list[str]
    height: int
    """Of the squares, in pixels."""


def draw_overview(found: Attention) -> str:
    """A panel of attention, one of value norms and one of attention × gradient, where they were asked for, one below the other.

    Layers downwards, heads to the right, each a square of queries (downwards) and keys under the role that it was found to have; of
    attention × gradient every layer is a square.
    """
    width = max(LEAD + len(found.attention[0]) * (SIDE + GAP), 540)
    panels = [_heads(found, found.attention, f"Attention of {found.model['name']}")]
    if found.norms is not None:
        panels.append(_heads(found, found.norms, "Value norms: what each head writes", name="norms.", of="of the head's largest"))
    if found.gradient is not None:
        panels.append(_layers(found, found.gradient, width))
    drawn: list[str] = []
    height = 0
    for panel in panels:
        drawn += [f'<g transform="translate(0 {height})">', *_titled(panel), "</g>"]
        height += TOP + panel.height + 10
    return "\n".join([*_opened(width, height, panels[0].title), *drawn, "</svg>"])


def _heads(found: Attention, values: Sequence[Any], title: str, *, name: str = "", of: str = "") -> _Panel:
    """[layer][head][query][key]; name: what ids begin with; of: what shades are relative to, else they are of 1."""
    levels, fields = _levels(values, relative=bool(of))
    layers, heads, n, _ = levels.shape
    roles = {(each.layer, each.head): each for each in found.head_roles}
    squares = []
    for layer in range(layers):
        top = TOP + layer * (SIDE + GAP + LINE)
        squares.append(_text(10, top + LINE + SIDE / 2, f"L{layer}", size=11, fill=_DIM))
        for head in range(heads):
            left = LEAD + head * (SIDE + GAP)
            squares.append(f'<g id="{name}L{layer}.{head}"><title>{_clean(_head_says(layer, head, roles.get((layer, head))))}</title>')
            squares += _head_line(left, top, layer, head, roles.get((layer, head)))
            squares += _square(levels[layer, head], left, top + LINE, SIDE / n, len(SHARES), causal=found.causal)
            squares.append("</g>")
    says = f"{layers} layers × {heads} heads, {len(found.tokens)} tokens; queries downwards, keys to the right{fields}"
    return _Panel(title, says, of, squares, layers * (SIDE + GAP + LINE))


def _layers(found: Attention, values: Sequence[Any], width: int) -> _Panel:
    """[layer][query][key], as many side by side as there is room for."""
    levels, fields = _levels(values, relative=True)
    beside = (width - LEAD) // (SIDE + GAP)
    squares = []
    for layer, each in enumerate(levels):
        left, top = LEAD + layer % beside * (SIDE + GAP), TOP + layer // beside * (SIDE + GAP + LINE)
        squares.append(f'<g id="gradient.L{layer}"><title>layer {layer}</title>')
        squares.append(_text(left, top + LINE - 4, f"L{layer}", size=9, fill=_DIM))
        squares += _square(each, left, top + LINE, SIDE / len(each), len(SHARES), causal=found.causal)
        squares.append("</g>")
    says = f"{len(levels)} layers, mean over heads, {len(values[0])} tokens; queries downwards, keys to the right{fields}"
    title = f"Attention × gradient of the log-probability of “{found.target}”"
    return _Panel(title, says, "of the layer's largest", squares, -(-len(levels) // beside) * (SIDE + GAP + LINE))


def _levels(values: Sequence[Any], *, relative: bool) -> tuple[Array, str]:
    """[..., query, key] how many of SHARES each field reaches, relative to its square's largest where so asked, and what a field is."""
    weights = pooled(np.asarray(values, dtype=np.float32), FIELDS)
    largest = weights.max(axis=(-2, -1), keepdims=True) if relative else np.float32(1)
    levels = np.digitize(weights / np.where(largest > 0, largest, 1), SHARES)
    several = -(-len(values[0][0] if weights.ndim == 4 else values[0]) // weights.shape[-1])
    return levels, f"; a field is {several} × {several} tokens and shows the largest of them" if several > 1 else ""


def pooled(weights: Array, fields: int) -> Array:
    """[..., query, key] with at most `fields` of each, the largest value of the square of tokens that share one."""
    n = weights.shape[-1]
    several = -(-n // fields)
    if several <= 1:
        return weights
    size = -(-n // several)
    wider = np.zeros((*weights.shape[:-2], size * several, size * several), dtype=weights.dtype)
    wider[..., :n, :n] = weights
    split: Array = wider.reshape(*weights.shape[:-2], size, several, size, several)
    return np.asarray(split.max(axis=(-3, -1)))


def runs(levels: Array) -> Iterator[tuple[int, int, int, int]]:
    """(level, row, first column, columns) of every run of equal levels above 0 in a row. levels: int [row, column]."""
    edged = np.pad(levels, ((0, 0), (1, 1)))
    rows, columns = np.nonzero(edged[:, 1:] != edged[:, :-1])
    begun = edged[rows, columns + 1]
    # A row ends at level 0, so every run above it ends where the next one of the same row begins.
    for at in np.flatnonzero(begun > 0):
        yield int(begun[at]), int(rows[at]), int(columns[at]), int(columns[at + 1] - columns[at])


def _square(levels: Array, left: float, top: float, cell: float, highest: int, *, causal: bool) -> list[str]:
    """Of one head, a stroke a run and a path a level; what no query sees stays white."""
    n = len(levels)
    paths: dict[int, list[str]] = {}
    for level, row, column, length in runs(levels):
        paths.setdefault(level, []).append(f"M{column} {row}h{length}")
    # A query sees itself and what is before it: stairs.
    seen = "M0 0" + "h1v1" * n + "H0z" if causal else f"M0 0h{n}v{n}h-{n}z"
    drawn = [f'<g transform="translate({left:.4g} {top:.4g}) scale({cell:.5g})" fill="none" stroke="{_BLUE}">']
    drawn.append(f'<path d="{seen}" fill="#eef0f3" stroke="none"/><g transform="translate(0 .5)">')
    for level, strokes in sorted(paths.items()):
        drawn.append(f'<path class="s{level}" opacity="{level / highest:.3g}" d="{"".join(strokes)}"/>')
    return [*drawn, "</g></g>"]


def _opened(width: float, height: float, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="system-ui, Helvetica, Arial, sans-serif" role="img" aria-label="{_clean(title)}">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
    ]


def _titled(panel: _Panel) -> Iterator[str]:
    yield _text(10, 24, panel.title, size=16)
    yield _text(10, 42, panel.says, size=11, fill=_DIM)
    yield from _shares_key([(f"{share:.0%}", (at + 1) / len(SHARES)) for at, share in enumerate(SHARES)], 10, 62)
    if panel.of:
        yield _text(10 + 54 * len(SHARES), 62, panel.of, size=11, fill=_DIM)
    yield from panel.squares


def _shares_key(steps: Sequence[tuple[str, float]], left: float, base: float) -> Iterator[str]:
    """What a shade means: a swatch a step."""
    for at, (name, opacity) in enumerate(steps):
        x = left + 54 * at
        yield f'<rect x="{x}" y="{base - 10}" width="12" height="12" fill="{_BLUE}" opacity="{opacity:.3g}"/>'
        yield _text(x + 16, base, name, size=11, fill=_DIM)


def _head_line(left: float, top: float, layer: int, head: int, roles: HeadRoles | None) -> Iterator[str]:
    yield _text(left, top + LINE - 4, f"{layer}.{head}", size=9, fill=_DIM)
    if roles is not None and roles.role is not None:
        yield _text(left + SIDE, top + LINE - 4, roles.role, size=9, fill=COLOURS[roles.role], anchor="end", name="role")


def _head_says(layer: int, head: int, roles: HeadRoles | None) -> str:
    says = f"layer {layer}, head {head}"
    if roles is None or roles.role is None:
        return says
    score = roles.scores[roles.role]
    return f"{says}, {roles.role} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _text(x: float, y: float, text: str, *, size: float, fill: str = _INK, anchor: str = "start", name: str = "") -> str:
    named = f' class="{name}"' if name else ""
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" font-size="{size:.3g}" fill="{fill}"{placed}>{_clean(text)}</text>'


def _clean(text: str) -> str:
    """Of a model or a corpus, as XML allows it."""
    return escape(visible(text).translate(_UNWRITABLE))
