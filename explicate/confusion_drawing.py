"""Which labels a probe takes for which, as SVG: true labels downwards, predicted ones to the right."""

from collections.abc import Sequence
from html import escape

from explicate.shaded_words import visible

MOST = 20
"""Labels that are drawn; the others, the rarest, are drawn as one."""
CELL, LETTER = 30.0, 8.4
"""A cell's side, and about a capital's width, in pixels."""
LONGEST = 22
"""Letters of a label's name."""
OTHERS = "(others)"


def draw_confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A cell is the darker the larger its share of its row; on hover its count. counts: [true label][predicted label]."""
    names, table = _fewer(labels, counts)
    left = LETTER * max(map(len, map(_short, names))) + 14
    width, height = left + CELL * len(names) + 60, left + CELL * len(names) + 8
    drawn = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width: {width:.0f}px; width: 100%; font-size: 12px" role="img" '
        'aria-label="True labels downwards, predicted ones to the right" fill="currentColor">'
    ]
    for place, name in enumerate(names):
        middle = left + CELL * (place + 0.5)
        drawn.append(f'<text x="{left - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end">{_text(_short(name))}</text>')
        drawn.append(f'<text transform="translate({middle + 4:.1f} {left - 8:.1f}) rotate(-90)">{_text(_short(name))}</text>')
    for row, (true, own) in enumerate(zip(names, table, strict=True)):
        total = sum(own)
        y = left + CELL * row
        for column, count in enumerate(own):
            if count:
                says = f"{true} taken for {names[column]}: {count} of {total}" if row != column else f"{true}: {count} of {total} right"
                drawn.append(
                    f'<g><title>{_text(says)}</title><rect x="{left + CELL * column:.1f}" y="{y:.1f}" width="{CELL - 1:g}" '
                    f'height="{CELL - 1:g}" style="fill: rgb(var({"--true" if row == column else "--sim"}))" '
                    f'opacity="{max(count / total, 0.05):.2f}"/></g>'
                )
        right = f"{own[row] / total:.2f}" if total else "none"
        drawn.append(f'<text x="{left + CELL * len(names) + 8:.1f}" y="{y + CELL / 2 + 4:.1f}">{right}</text>')
    side = CELL * len(names)
    drawn.append(
        f'<rect x="{left - 0.5:.1f}" y="{left - 0.5:.1f}" width="{side:.1f}" height="{side:.1f}" fill="none" style="stroke: var(--line)"/>'
    )
    return "".join([*drawn, "</svg>"])


def _fewer(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[list[str], list[list[int]]]:
    """With the last labels, the rarest, as one where there are more than are drawn."""
    if len(labels) <= MOST:
        return list(labels), [list(row) for row in counts]
    kept = MOST - 1
    rows = [[*row[:kept], sum(row[kept:])] for row in counts]
    return [*labels[:kept], OTHERS], [*rows[:kept], [sum(row[column] for row in rows[kept:]) for column in range(MOST)]]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _text(text: str) -> str:
    return escape(visible(text))
