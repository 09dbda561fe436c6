"""A sentence with its tree above it and the predicted one below, as arcs in SVG."""

import unicodedata
from collections.abc import Iterator
from html import escape
from itertools import accumulate

from evals.probes.tree_results import DrawnTree
from explicate.shaded_words import visible

LETTER, GAP, SIDE = 7.4, 16.0, 12.0
"""Pixels: of a letter, between two words, beside the first and the last."""
LOW, STEP, MOST = 14.0, 9.0, 14
"""Height of an arc's control points over neighbours, what each word further adds, and words beyond which nothing is added."""
LINE = 26.0
"""Height of the line of words."""
LONGEST = 24
"""Letters of a word that are drawn."""
STYLES = {
    "found": 'stroke="rgb(var(--true))"',
    "missed": 'stroke="var(--dim)" stroke-dasharray="2 4"',
    "right": 'stroke="rgb(var(--true))"',
    "wrong": 'stroke="rgb(var(--sim))" stroke-dasharray="6 3"',
}
"""Edges of the tree that are predicted or not, and predicted edges that are in the tree or not."""


def draw_tree(tree: DrawnTree) -> str:
    """True edges above, dotted where they are not predicted; predicted ones below, dashed where they are wrong; roots as triangles."""
    gold, predicted = set(tree.gold), set(tree.predicted)
    widths = [_width(word) + GAP for word in tree.words]
    ends = list(accumulate(widths, initial=SIDE))
    middles = [start + width / 2 for start, width in zip(ends, widths, strict=False)]
    above, below = (max((_height(*edge) * 0.75 for edge in edges), default=0.0) + 18 for edges in (gold, predicted))
    top, bottom = above, above + LINE
    parts = [
        f'<svg class="tree" viewBox="0 0 {ends[-1] + SIDE:.0f} {bottom + below:.0f}" width="{ends[-1] + SIDE:.0f}" '
        f'height="{bottom + below:.0f}" style="max-width:none" role="img" aria-label="{_clean(" ".join(tree.words))}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<g fill="none" stroke-width="1.6">',
        *(_arc(tree, edge, middles, top, -1, "found" if edge in predicted else "missed") for edge in sorted(gold)),
        *(_arc(tree, edge, middles, bottom, 1, "right" if edge in gold else "wrong") for edge in sorted(predicted)),
        "</g>",
        *_words(tree, middles, top + LINE / 2 + 4.5),
        _triangle(middles[tree.root], top, -1, "root of the tree", "rgb(var(--true))"),
        _triangle(
            middles[tree.predicted_root],
            bottom,
            1,
            "predicted root" + ("" if tree.root == tree.predicted_root else ", wrong"),
            "rgb(var(--true))" if tree.root == tree.predicted_root else "rgb(var(--sim))",
        ),
        "</svg>",
    ]
    return "".join(parts)


def _arc(tree: DrawnTree, edge: tuple[int, int], middles: list[float], base: float, side: int, kind: str) -> str:
    left, right = middles[edge[0]] + 3, middles[edge[1]] - 3
    peak = base + side * _height(*edge)
    says = f"{tree.words[edge[0]]} – {tree.words[edge[1]]}: {kind}"
    path = f"M{left:.1f} {base:.1f}C{left:.1f} {peak:.1f} {right:.1f} {peak:.1f} {right:.1f} {base:.1f}"
    return f'<path class="{kind}" {STYLES[kind]} d="{path}"><title>{_clean(says)}</title></path>'


def _words(tree: DrawnTree, middles: list[float], y: float) -> Iterator[str]:
    for word, mark, middle in zip(tree.words, tree.punctuation, middles, strict=True):
        fill = "var(--dim)" if mark else "var(--ink)"
        shown = word if len(word) <= LONGEST else word[: LONGEST - 1] + "…"
        yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle" style="fill:{fill};unicode-bidi:isolate">{_clean(shown)}</text>'


def _triangle(x: float, base: float, side: int, says: str, fill: str) -> str:
    far = base + side * 9
    return (
        f'<path class="root" d="M{x - 5:.1f} {far:.1f}h10L{x:.1f} {base + side * 1:.1f}z" style="fill:{fill}"><title>{says}</title></path>'
    )


def _height(one: int, other: int) -> float:
    return LOW + STEP * min(abs(other - one), MOST)


def _width(word: str) -> float:
    """In pixels, about: a letter of East Asian scripts is as wide as two others."""
    return LETTER * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in word[:LONGEST])


def _clean(text: str) -> str:
    return escape(visible(text))
