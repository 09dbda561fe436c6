"""Cells of rows over layers, blue where above 0 and orange where below, for the templates: numbers turned into positions, no markup."""

from collections.abc import Sequence
from typing import Any

from evals.results import Failure, Value
from explicate.shaded_words import visible

WIDTH, ROW = 300.0, 20.0
"""Of a drawing, without the names beside its rows, and height of a row."""
TICKS = 6
"""Layers with a number below."""
STEPS = 12
"""Shades of a drawing without numbers."""


def largest(rows: Sequence[Sequence[float | None]]) -> float:
    """The largest size of any cell; 0 where there is none."""
    return max((abs(value) for row in rows for value in row if value is not None), default=0.0)


def heat_map(
    title: str, names: Sequence[str], values: Sequence[Sequence[Value | Failure]], scale: float, number: str = "{:+.3f}"
) -> dict[str, Any]:
    """values [row][layer], drawn relative to scale; a cell whose interval leaves out 0 has a dot."""
    layers = len(values[0]) if values else 0
    width = WIDTH / max(layers, 1)
    cells = []
    for row, own in enumerate(values):
        for layer, value in enumerate(own):
            if isinstance(value, Failure):
                continue
            share = value.value / scale if scale > 0 else 0.0
            span = f"[{number.format(value.low)}, {number.format(value.high)}]"
            cells.append(
                {
                    "x": round(layer * width, 2),
                    "y": row * ROW,
                    "shade": f"{min(abs(share), 1.0):.2f}",
                    "against": value.value < 0,
                    "sure": value.low > 0 or value.high < 0,
                    "says": f"{visible(names[row])}, layer {layer}: {number.format(value.value)} {span}, {value.n} facts",
                }
            )
    missing = [visible(names[row]) for row, own in enumerate(values) if all(isinstance(value, Failure) for value in own)]
    return {**_frame(title, names, layers), "cells": cells, "cell": round(width, 2), "missing": missing}


def plain_map(title: str, names: Sequence[str], values: Sequence[Sequence[float | None]], scale: float) -> dict[str, Any]:
    """values [row][layer] without intervals, a few shades of each colour as one path each, so that many fit into a page."""
    layers = len(values[0]) if values else 0
    width = WIDTH / max(layers, 1)
    paths: dict[tuple[int, bool], list[str]] = {}
    for row, own in enumerate(values):
        for layer, value in enumerate(own):
            step = 0 if value is None or scale <= 0 else round(STEPS * min(abs(value) / scale, 1.0))
            if value is not None and step:
                paths.setdefault((step, value < 0), []).append(f"M{layer * width:.1f} {row * ROW:.0f}h{width:.1f}v{ROW:.0f}h-{width:.1f}z")
    shades = [
        {"shade": f"{step / STEPS:.2f}", "against": against, "path": "".join(path)} for (step, against), path in sorted(paths.items())
    ]
    return {**_frame(title, names, layers), "shades": shades}


def _frame(title: str, names: Sequence[str], layers: int) -> dict[str, Any]:
    width = WIDTH / max(layers, 1)
    spread = sorted({round(tick * (layers - 1) / (TICKS - 1)) for tick in range(TICKS)}) if layers else []
    return {
        "title": title,
        "names": [{"text": visible(name), "y": row * ROW + ROW / 2 + 4} for row, name in enumerate(names)],
        "x": [{"at": round((layer + 0.5) * width, 1), "text": str(layer)} for layer in spread],
        "width": WIDTH,
        "height": len(names) * ROW,
        "row": ROW,
    }
