"""The page of `explicate probe view`: every layer's views beside one another, with what each keeps and what none of them shows."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from evals.probes.view_results import Point, Viewed, ViewedLayer
from explicate.pages import environment, trusted
from explicate.probe_words import told
from explicate.scatter import digest_of_script, legend_of, scatter
from explicate.shaded_words import visible
from explicate.written_file import forms

VIEWS: Mapping[str, str] = {"pca": "Principal components", "probe": "The plane of the probe", "neighbours": "Neighbour embedding (t-SNE)"}
FIGURES: Mapping[str, str] = {
    "trustworthiness": "trustworthiness",
    "neighbours_kept": "neighbours kept",
    "neighbours_kept_over_random": "neighbours kept, over a random plane",
    "same_label": "neighbours of the same label",
}
BINS = 6
"""Colours of numbers, as many points of each."""
_HUES = (225, 195, 160, 50, 25, 345)


def render(found: Viewed) -> str:
    """The whole page."""
    from markupsafe import Markup

    kinds, colours = kinds_of(found)
    return str(
        environment()
        .get_template("probe_view.html")
        .render(
            css=trusted("style.css"),
            scatter_css=trusted("scatter.css"),
            script=trusted("scatter.js"),
            digest=digest_of_script(),
            title=f"States of {visible(found.model['name'])} in the plane",
            task=visible(found.task),
            labelled=found.labelled,
            items=[(visible(name.replace("_", " ")), f"{count:,}") for name, count in found.items.items()],
            unit=visible(found.unit),
            neighbours=found.neighbours,
            legend=Markup(legend_of(kinds, colours=colours)),  # noqa: S704 -- escapes its kinds
            binned=", ".join(map(visible, found.columns[-1:])),
            layers=[_layer(found, layer, kinds, colours, number == 0) for number, layer in enumerate(found.layers)],
            chance=None if found.chance is None else f"{found.chance:.3f}",
            notes=[visible(note) for note in found.notes],
            seed=found.seed,
            identity=[(visible(key), visible(value)) for key, value in (*found.model.items(), ("pool", found.pool), *found.source.items())],
        )
    )


FORMS = forms(render)
"""What a file is written as, by its ending."""


def kinds_of(found: Viewed) -> tuple[list[str], dict[str, str]]:
    """([point] what gives it its colour, colours by that): labels, or of numbers the last column in BINS parts with as many points each."""
    if found.labelled != "numbers":
        return [point.label or "" for point in found.points], {}
    values = np.array([(point.numbers or [0.0])[-1] for point in found.points])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)] or [f"{edges[0]:.4g}"]
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(names) - 1)
    return [names[number] for number in which], {name: f"hsl({hue} 62% 52%)" for name, hue in zip(names, _HUES, strict=False)}


def _layer(found: Viewed, layer: ViewedLayer, kinds: Sequence[str], colours: Mapping[str, str], first: bool) -> dict[str, Any]:
    return {
        "number": layer.layer,
        "views": [
            _view(found, layer, name, kinds, colours, whole=first and place == 0)
            for place, name in enumerate(name for name in VIEWS if name in layer.planes)
        ],
        "heads": [FIGURES[name] for name in FIGURES if name != "same_label" or found.labelled == "labels"],
        "rows": _rows(found, layer),
        "same": None if layer.same_label is None else told(layer.same_label),
    }


def _view(found: Viewed, layer: ViewedLayer, name: str, kinds: Sequence[str], colours: Mapping[str, str], *, whole: bool) -> dict[str, Any]:
    from markupsafe import Markup

    plane = layer.planes[name]
    if plane.failure is not None:
        return {"title": VIEWS[name], "reason": visible(plane.failure.reason), "says": ""}
    x, y = _axes(found, layer, name)
    svg = scatter(
        list(zip(plane.x, plane.y, strict=True)),
        labels=[_label(point, whole=whole) for point in found.points],
        kinds=kinds,
        colours=colours,
        x=x,
        y=y,
        square=name != "probe",
        ticks=name == "probe" and found.labelled == "numbers",
        width=420,
        height=None if name != "probe" else 410,
        title=f"{VIEWS[name]}, layer {layer.layer}",
        legend=False,
    )
    return {"title": VIEWS[name], "says": _says(found, layer, name), "svg": Markup(svg)}  # noqa: S704 -- escapes its texts


def _axes(found: Viewed, layer: ViewedLayer, name: str) -> tuple[str, str]:
    if name == "pca":
        first, second = (f"{share:.1%}" for share in layer.explained)
        return f"first: {first} of the variance", f"second: {second}"
    if name == "neighbours":
        return "", ""
    if found.labelled == "labels":
        return "first discriminant direction", "second"
    if len(found.columns) == 2:
        return f"{found.columns[1]}, predicted", f"{found.columns[0]}, predicted"
    return f"{found.columns[0]}, predicted", "across it, where states vary most"


def _says(found: Viewed, layer: ViewedLayer, name: str) -> str:
    if name == "pca":
        return f"The two directions in which the points vary most: {sum(layer.explained):.1%} of the variance, the rest is not seen."
    if name == "neighbours":
        return (
            "Near points are near in the states, mostly. Distances between groups, their sizes and the space between them mean nothing; "
            "with another seed it looks different."
        )
    what = f"tell {visible(found.task)} apart best" if found.labelled == "labels" else f"say most of {visible(found.task)}"
    return f"The directions that {what} in other points: none of those shown had a part in choosing them."


def _rows(found: Viewed, layer: ViewedLayer) -> list[dict[str, Any]]:
    names = [name for name in FIGURES if name != "same_label" or found.labelled == "labels"]
    measured = {VIEWS[name]: plane.figures for name, plane in layer.planes.items() if name in VIEWS and plane.failure is None}
    measured |= {f"control: {visible(name.replace('_', ' '))}": figures for name, figures in layer.controls.items()}
    return [
        {"name": name, "cells": [told(figures[figure]) if figure in figures else "" for figure in names]}
        for name, figures in measured.items()
    ]


def _label(point: Point, *, whole: bool) -> str:
    """What is told of a point. The context stands once in the page, in its first view, from which the script tells it in all."""
    if not whole:
        return point.text[:40]
    numbers = "" if point.numbers is None else f" ({', '.join(f'{number:g}' for number in point.numbers)})"
    return (point.context or point.text) + numbers
