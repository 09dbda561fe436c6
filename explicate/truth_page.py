"""The page of `explicate probe truth`: topics, what carries over between them, how log-odds are spread, calibration, the causal check."""

from typing import Any

from evals.probes.truth_results import Causal, Histogram, TruthProbed
from evals.results import Value
from explicate import truth_words
from explicate.pages import environment
from explicate.probe_page import Drawing, page
from explicate.probe_words import told
from explicate.reliability_diagram import diagram
from explicate.shaded_words import visible
from explicate.written_file import forms

CELL = 54.0
LETTER = 7.2
"""Of a name, about, in units of the drawing."""
LONGEST = 18
"""Letters of a name in a drawing."""
WIDTH, HEIGHT = 220.0, 110.0
"""Of one topic's histogram."""


def render(found: TruthProbed) -> str:
    """The whole page."""
    return page(found, title=f"True statements in {visible(found.model['name'])}", drawings=list(_drawings(found)))


FORMS = forms(render)


def _drawings(found: TruthProbed) -> list[Drawing]:
    draw = environment().get_template("truth.html").module
    out = "of topics that were left out of training" if found.left_out == "topic" else "that were left out of training"
    drawn = [
        Drawing(
            "Topic by topic",
            f"Statements {out}, at the layer that was chosen without them. What fails on a topic is not known to hold on a new one.",
            _grid(draw, truth_words.topics(found)),
            wide=True,
        )
    ]
    if len(found.topics) > 1:
        drawn.append(
            Drawing(
                "From topic to topic",
                f"AUROC at layer {found.best} of a detector that is trained on one topic alone; on its own topic by five parts. Pale cells "
                "are at chance, orange ones below it: what one topic teaches need not be truth.",
                str(draw.heat(_matrix(found))),
            )
        )
    if found.reliability is not None and found.reliability.equal_width:
        drawn.append(
            Drawing(
                "How far its probabilities can be believed",
                "Confidence in the likelier verdict and how often it is right, on held-out statements. Expected calibration error "
                f"{told(found.calibration['ece'])}; if it were perfect {told(found.calibration['ece_floor'])}.",
                str(draw.diagram(diagram(found.reliability))),
            )
        )
    drawn.append(
        Drawing(
            "Held-out statements along the detector",
            "Log-odds of true statements upwards, blue, and of false ones downwards, orange; the dashed line is where the verdict turns. "
            "Two heaps that lie apart but on one side of it are told apart and yet judged wrong.",
            str(draw.histograms([_histogram(each, name) for each, name in zip(found.projections, _names(found), strict=True)])),
            wide=True,
        )
    )
    drawn.append(
        Drawing(
            "Detectors beside one another",
            f"Each trained and tested on the same statements, at the layers that {found.detector} has chosen, which favours it.",
            _grid(draw, truth_words.detectors(found)),
        )
    )
    if found.also:
        drawn.append(
            Drawing(
                "Statements of another form",
                "No detector was trained on them. Below chance on negations it follows something that goes with truth, not truth itself.",
                _grid(draw, truth_words.also(found)),
                wide=True,
            )
        )
    if (says := truth_words.causal_says(found.causal)) is not None:
        grid = _grid(draw, truth_words.causal(found.causal)) if isinstance(found.causal, Causal) else ""
        drawn.append(Drawing("Does the model use it?", visible(says), grid, wide=True))
    return drawn


def _grid(draw: Any, grid: truth_words.Grid) -> str:
    heads, rows = grid
    return str(draw.grid(heads, [[visible(cell) for cell in row] for row in rows]))


def _names(found: TruthProbed) -> list[str]:
    """[topic] short enough for a drawing."""
    short = truth_words.short_names([topic.name for topic in found.topics])
    return [visible(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…") for name in short.values()]


def _matrix(found: TruthProbed) -> dict[str, Any]:
    names, topics = _names(found), [topic.name for topic in found.topics]
    left = LETTER * max(len("trained on"), *map(len, names)) + 8
    top = LETTER * max(map(len, names)) * 0.6 + 30
    values = {(cell.train, cell.test): cell.auroc for cell in found.transfer}
    rows = []
    for place, train in enumerate(topics):
        cells = []
        for other, test in enumerate(topics):
            value = values[train, test]
            beyond = 2 * (value.value - 0.5) if isinstance(value, Value) else 0.0
            cells.append(
                {
                    "x": left + CELL * other,
                    "kind": "above" if beyond >= 0 else "below",
                    "opacity": f"{0.75 * abs(beyond):.3f}",
                    "text": f"{value.value:.2f}" if isinstance(value, Value) else "none",
                    "title": f"trained on {names[place]}, tested on {names[other]}: {told(value)}",
                }
            )
        rows.append({"y": top + CELL * place, "name": names[place], "cells": cells})
    return {
        "left": left,
        "top": top,
        "cell": CELL,
        "width": round(left + CELL * len(topics) + 0.5 * LETTER * max(map(len, names))),
        "height": round(top + CELL * len(topics) + 2),
        "columns": [{"x": left + CELL * (place + 0.4), "name": name} for place, name in enumerate(names)],
        "rows": rows,
    }


def _histogram(found: Histogram, name: str) -> dict[str, Any]:
    """x is log-odds; true statements upwards from the middle, false ones downwards."""
    most = max(*found.true, *found.false, 1)
    low, high, middle = found.edges[0], found.edges[-1], (HEIGHT - 14) / 2
    step = WIDTH / len(found.true)
    bars = []
    for place, (up, down) in enumerate(zip(found.true, found.false, strict=True)):
        told_range = f"{found.edges[place]:.1f} to {found.edges[place + 1]:.1f}"
        for kind, count in (("true", up), ("false", down)):
            tall = round(middle * count / most, 1)
            if count:
                bars.append(
                    {
                        "kind": kind,
                        "x": round(step * place, 1),
                        "width": round(step - 1, 1),
                        "y": round(middle - tall, 1) if kind == "true" else middle,
                        "height": tall,
                        "title": f"log-odds {told_range}: {count} {kind}",
                    }
                )
    return {
        "name": name,
        "width": WIDTH,
        "height": HEIGHT,
        "middle": middle,
        "zero": round(WIDTH * -low / (high - low), 1) if low < 0 < high else None,
        "low": f"{low:.1f}",
        "high": f"{high:.1f}",
        "bars": bars,
    }
