"""A drawing of attention for papers, as SVG: the text, all heads side by side with their roles, and what else was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
from rich.cells import cell_len

from analyzers.attention import Role
from evals.attention import CAUTION, Attention, Flow, HeadRoles
from explicate.attention_table import SUNK
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
CELL, BAR, COLUMN = 12, 90, 150
"""Of all layers together: a cell of rollout, the longest bar of flow, and a column of flow with its numbers."""
LISTED = 256
"""Tokens of the text that are written out."""
ROWS = 60
"""Of flow at most, the tokens to which most flows."""
_INK, _DIM, _BLUE = "#1b2330", "#5d6878", "#2c73d2"
_UNWRITABLE = dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")


@dataclass(frozen=True)
class _Panel:
    """Squares below a title."""

    title: str
    says: str
    of: str
    """What a shade is a share of, where that is not said by the title, or what else is to be minded."""
    squares: list[str]
    height: int
    """Of the squares, in pixels; so their width, from the left edge on."""
    width: int = 0
    shades: bool = True
    """Whether shades of SHARES are to be explained."""


def draw_overview(found: Attention) -> str:
    """The tokens of the text, a panel of attention, and one of all that was asked for beside it, one below the other.

    Layers downwards, heads to the right, each a square of queries (downwards) and keys under the role that it was found to have; of
    attention × gradient every layer is a square, rollout is a single one, and flow has a bar a token.
    """
    width = max(LEAD + len(found.attention[0]) * (SIDE + GAP), 540)
    panels = [_heads(found, found.attention, "Attention of each head")]
    if found.norms is not None:
        panels.append(_heads(found, found.norms, "Value norms: what each head writes", name="norms.", of="of the head's largest"))
    if found.gradient is not None:
        panels.append(_layers(found, found.gradient, width))
    if found.rollout is not None:
        panels.append(_rollout(found, found.rollout))
    if found.flow is not None:
        panels.append(_flow(found, found.flow))
    width = max(width, *(max(panel.width, round(6.5 * len(panel.says))) + 10 for panel in panels))
    title = f"Where {found.model['name']} attends"
    drawn, height = _headed(found, title, width)
    for panel in panels:
        drawn += [f'<g transform="translate(0 {height})">', *_titled(panel), "</g>"]
        height += TOP + panel.height + 10
    return "\n".join([*_opened(width, height, title), *drawn, "</svg>"])


def _headed(found: Attention, title: str, width: int) -> tuple[list[str], int]:
    """What stands above all panels, and its height: what attention is not, and the tokens by number."""
    drawn, base = [_text(10, 28, title, size=18)], 30
    # System fonts differ in width: room for the widest.
    for line in wrap(CAUTION, int((width - 20) / 7)):
        base += 18
        drawn.append(_text(10, base, line, size=12))
    base, left = base + 24, 10.0
    drawn.append('<g class="text" font-family="ui-monospace, Menlo, Consolas, monospace">')
    for at, token in enumerate(found.tokens[:LISTED]):
        number, shown = str(at), _short(token, 24)
        room = 5.8 * len(number) + 3 + 7.3 * cell_len(shown)
        if left > 10 and left + room > width - 10:
            base, left = base + 18, 10.0
        drawn.append(_text(left, base, number, size=9, fill=_DIM) + _text(left + 5.8 * len(number) + 3, base, shown, size=12))
        left += room + 8
    drawn.append("</g>")
    if len(found.tokens) > LISTED:
        base += 18
        drawn.append(_text(10, base, f"and {len(found.tokens) - LISTED} more tokens", size=11, fill=_DIM))
    return drawn, base + 16


def _rollout(found: Attention, values: Sequence[Any]) -> _Panel:
    """[query][key], one square with its tokens at both sides."""
    levels, fields = _levels(values, relative=False)
    n, several = len(levels), -(-len(values) // len(levels))
    names = (
        [f"{_short(token, 14)} {at}" for at, token in enumerate(found.tokens)] if several == 1 else [str(at * several) for at in range(n)]
    )
    room = 16 + round(5.6 * max(map(cell_len, names)))
    squares = ['<g id="rollout"><title>rollout, all layers</title>']
    for at, name in enumerate(names):
        middle = TOP + room + (at + 0.5) * CELL + 3
        squares.append(_text(room - 4, middle, name, size=9, anchor="end"))
        squares.append(f'<g transform="translate({middle - TOP:.1f} {TOP + room - 4}) rotate(-90)">{_text(0, 0, name, size=9)}</g>')
    squares += _square(levels, room, TOP + room, CELL, len(SHARES), causal=found.causal)
    says = f"Means over heads, multiplied over all layers: of no single head; queries downwards, keys to the right{fields}"
    swallowed = found.causal and n > 1 and values[-1][0] > SUNK
    beside = "over so many causal layers it ends on the first token" if swallowed else ""
    return _Panel("Rollout", says, beside, [*squares, "</g>"], room + n * CELL, room + n * CELL)


def _flow(found: Attention, flow: Flow) -> _Panel:
    """A row a token, a column a query."""
    most = [max(values) for values in zip(*flow.values, strict=True)]
    kept = sorted(sorted(range(len(most)), key=lambda key: -most[key])[:ROWS])
    names = [_short(found.tokens[key], 24) for key in kept]
    room = 50 + round(6.8 * max(map(cell_len, names)))
    rows = []
    for row, (key, name) in enumerate(zip(kept, names, strict=True)):
        base = TOP + LINE * (row + 1)
        rows += [_text(30, base, str(key), size=9, fill=_DIM, anchor="end"), _text(36, base, name, size=11)]
    for column, (query, values) in enumerate(zip(flow.queries, flow.values, strict=True)):
        left = room + COLUMN * column
        rows.append(f'<g id="flow.{query}"><title>flow from token {query}</title>')
        rows.append(_text(left, TOP - 8, f"from {query} {_short(found.tokens[query], 14)}", size=11, fill=_DIM))
        for row, key in enumerate(kept):
            base, value = TOP + LINE * (row + 1), values[key]
            rows.append(f'<rect x="{left}" y="{base - 9}" width="{BAR * min(value, 1):.4g}" height="10" fill="{_BLUE}"/>')
            rows.append(_text(left + BAR + 6, base, f"{value:.2f}", size=11))
        rows.append("</g>")
    left_out = f"; {len(most) - len(kept)} tokens to which less flows are left out" if len(kept) < len(most) else ""
    says = f"The most that can flow from a query down to each token, 1 at most: of no single head{left_out}"
    return _Panel("Flow through all layers", says, "", rows, LINE * len(kept) + 6, room + COLUMN * len(flow.queries), shades=False)


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
    if panel.shades:
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
    yield _text(left, top + LINE - 4, f"{layer}.{head}", size=8, fill=_DIM)
    if roles is not None and roles.role is not None:
        yield _text(left + SIDE, top + LINE - 4, roles.role, size=8, fill=COLOURS[roles.role], anchor="end", name="role")


def _head_says(layer: int, head: int, roles: HeadRoles | None) -> str:
    says = f"layer {layer}, head {head}"
    if roles is None or roles.role is None:
        return says
    score = roles.scores[roles.role]
    return f"{says}, {roles.role} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _short(token: str, most: int) -> str:
    """A token as it can be seen, without the spaces around it."""
    shown = visible(token).strip() or "\u2423"
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _text(x: float, y: float, text: str, *, size: float, fill: str = _INK, anchor: str = "start", name: str = "") -> str:
    named = f' class="{name}"' if name else ""
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" font-size="{size:.3g}" fill="{fill}"{placed}>{_clean(text)}</text>'


def _clean(text: str) -> str:
    """Of a model or a corpus, as XML allows it."""
    return escape(visible(text).translate(_UNWRITABLE))
