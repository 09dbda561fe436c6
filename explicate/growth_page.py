"""The page of `explicate grow`: in which order curves were acquired, every curve over log-spaced steps, and their summaries."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evals.growing.growth import NOT_GROWN, SUMMARIES, place
from evals.growing.results import Curve, Grown, Series
from evals.results import Failure, Value
from explicate.curve_chart import Level, Line, curve_chart
from explicate.growth_words import (
    PARTS,
    SILENT,
    TITLES,
    before_told,
    chart_title,
    curve_name,
    has_grown,
    is_above_chance,
    order_told,
    part_of,
    step_told,
    t90_told,
    tick_told,
    verdict,
)
from explicate.pages import environment, trusted
from explicate.probe_words import interval, number, told
from explicate.shaded_words import visible
from explicate.written_file import forms

TICKS = 7
"""Steps that are told below the order, about."""
COLOURS = 4
"""Kinds of lines in the style sheet."""


def render(found: Grown) -> str:
    """The whole page."""
    return str(
        environment()
        .get_template("growth.html")
        .render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title=f"How {visible(_called(found))} grew",
            silent=SILENT,
            seeds=len(found.series),
            trainings=[_training(found, series) for series in found.series],
            names=[{"name": visible(each.name), "kind": f"line{number % COLOURS}"} for number, each in enumerate(found.series)],
            tau=told(found.tau),
            has_tau=isinstance(found.tau, Value),
            befores=[
                {"said": visible(before_told(each, len(found.series))), "word": word, "kind": kind}
                for each in found.before
                for word, kind in (verdict(each, len(found.series)),)
            ],
            order=_order(found),
            sections=[_section(found, probe) for probe in found.probes],
            tables=[_table(found, series) for series in found.series],
            notes=[visible(note) for note in found.notes],
            seed=found.seed,
            identity=_identity(found),
            sources=[(visible(name), visible(digest)) for name, digest in found.source.items()],
            checkpoints=[
                (visible(series.name), f"{each.step:,}", visible(each.name), visible(each.revision))
                for series in found.series
                for each in series.checkpoints
            ],
        )
    )


FORMS = forms(render)
"""What a file is written as, by its ending."""


def _called(found: Grown) -> str:
    return found.series[0].name if len(found.series) == 1 else f"{len(found.series)} trainings"


def _training(found: Grown, series: Series) -> dict[str, str]:
    steps = series.steps
    loss = series.losses[-1] if series.losses else None
    return {
        "name": visible(series.name),
        "steps": f"{len(steps)} checkpoints, step {steps[0]:,} to {steps[-1]:,}",
        "order": visible(order_told(found, series)),
        "loss": ""
        if loss is None
        else f"loss on held-out text {number(series.losses[0]['held_out'])} → {number(loss['held_out'])} nats a token",
    }


def _order(found: Grown) -> dict[str, Any]:
    """A row for each curve, the first acquired first: a dot for each training at its t90, as percentages of an axis of log2(1 + step)."""
    steps = sorted({step for series in found.series for step in series.steps})
    widest = float(place(steps)[-1]) or 1.0

    def at(step: float) -> float:
        return round(100 * float(place(np.array([min(max(step, 0.0), steps[-1])]))[0]) / widest, 2)

    chosen = sorted({round(tick * (len(steps) - 1) / (TICKS - 1)) for tick in range(TICKS)})
    ticks = [{"at": at(steps[number]), "text": tick_told(steps[number])} for number in chosen]
    rows = [_row(found, name, at) for name in found.order]
    parts = set(_parts(found))
    return {
        "ticks": ticks,
        "rows": [row for row, name in zip(rows, found.order, strict=True) if name not in parts],
        "parts": [row for row, name in zip(rows, found.order, strict=True) if name in parts],
    }


def _row(found: Grown, name: str, at: Callable[[float], float]) -> dict[str, Any]:
    dots, failed = [], list[str]()
    for order, series in enumerate(found.series):
        curve = series.curve(name)
        t90 = Failure(stage="score", reason="not measured in this training") if curve is None else curve.summary["t90"]
        if isinstance(t90, Failure):
            failed.append(t90.reason)
            continue
        left = at(t90.low)
        says = f"{visible(series.name)}: step {t90_told(t90)}"
        dots.append(
            {"at": at(t90.value), "left": left, "width": round(at(t90.high) - left, 2), "kind": f"line{order % COLOURS}", "says": says}
        )
    known = [curve.summary["t90"] for series in found.series if (curve := series.curve(name)) is not None and has_grown(curve)]
    told_steps = [step_told(value.value) for value in known if isinstance(value, Value)]
    never = sum(reason.startswith(NOT_GROWN) for reason in failed)
    return {
        "name": curve_name(name),
        "main": name in found.probes,
        "dots": dots,
        "number": ", ".join(told_steps),
        "reason": "" if not failed else NOT_GROWN if never == len(found.series) else f"{len(failed)} of {len(found.series)} without",
        "why": visible("; ".join(dict.fromkeys(failed))),
    }


def _parts(found: Grown) -> dict[str, str]:
    """By the name of a curve the one that it is a part of; only of those that are parts."""
    curves = [curve for series in found.series for curve in series.curves]
    return {curve.name: whole for curve in curves if (whole := part_of(curve)) != curve.name}


def _section(found: Grown, probe: str) -> dict[str, Any]:
    """The charts of one probe's curves, its own before those of its parts, which are folded."""
    parts = _parts(found)
    names = dict.fromkeys(curve.name for series in found.series for curve in series.curves if curve.probe == probe)
    folded = [
        {
            "title": f"{chart_title(whole, probe).partition(',')[0]} by {PARTS[probe]}",
            "says": _parts_told(found, whole, own := [name for name in names if parts.get(name) == whole]),
            "charts": [_chart(found, probe, name) for name in own],
        }
        for whole in dict.fromkeys(parts[name] for name in names if name in parts)
    ]
    return {
        "title": TITLES.get(probe, visible(probe)),
        "charts": [_chart(found, probe, name) for name in names if name not in parts],
        "folded": folded,
    }


def _parts_told(found: Grown, whole: str, names: Sequence[str]) -> str:
    """How many curves, how many of them grew, and which was the first."""
    every = "" if len(found.series) == 1 else " in every training"
    grew = [
        name
        for name in found.order
        if name in names and all((curve := series.curve(name)) is not None and has_grown(curve) for series in found.series)
    ]
    many = "1 curve" if len(names) == 1 else f"{len(names)} curves"
    return f"{many}, {len(grew) or 'none'} seen to grow{every}" + (
        f", first {curve_name(grew[0].removeprefix(f'{whole}/'))}" if grew else ""
    )


def _chart(found: Grown, probe: str, name: str) -> dict[str, Any]:
    """A line for each training."""
    drawn = [(series, curve) for series in found.series if (curve := series.curve(name)) is not None]
    lines = [
        Line(visible(series.name), f"line{number % COLOURS}", place(series.steps).tolist(), curve.values)
        for number, (series, curve) in enumerate(drawn)
    ]
    chance = next((curve.chance for _, curve in drawn if curve.chance is not None), None)
    levels = [] if chance is None else [Level(f"{visible(chance.of)} {number(chance.value)}", chance.value)]
    chart = curve_chart(chart_title(name, probe), "step", lines, interval, levels=levels)
    # Places are logarithms; steps are what is told.
    steps = {f"{at:g}": step for series, _ in drawn for step, at in zip(series.steps, place(series.steps).tolist(), strict=True)}
    for tick in chart["x"]:
        tick["text"] = tick_told(steps[tick["text"]])
    for line, (series, curve) in zip(chart["lines"], drawn, strict=True):
        _tell(line, series, curve)
    return chart


def _tell(line: dict[str, Any], series: Series, curve: Curve) -> None:
    known = [(step, value) for step, value in zip(series.steps, curve.values, strict=True) if isinstance(value, Value)]
    for point, (step, value) in zip(line["points"], known, strict=True):
        point["says"] = f"{line['name']}, step {step:,}: {interval(value)}"


def _table(found: Grown, series: Series) -> dict[str, Any]:
    """Rows of curves, those of parts by themselves."""
    parts = _parts(found)
    ordered = sorted(series.curves, key=lambda curve: found.order.index(curve.name))
    return {
        "name": visible(series.name),
        "heads": [*SUMMARIES],
        "rows": [_cells(curve) for curve in ordered if curve.name not in parts],
        "parts": [_cells(curve) for curve in ordered if curve.name in parts],
    }


def _cells(curve: Curve) -> dict[str, Any]:
    cells = [t90_told(value) if name == "t90" else told(value) for name, value in curve.summary.items()]
    return {
        "name": curve_name(curve.name),
        "main": curve.name == curve.probe,
        "ends": [told(value) for value in (curve.values[0], curve.values[-1])],
        "cells": cells,
        "better": curve.better,
        "above": is_above_chance(curve),
    }


def _identity(found: Grown) -> Sequence[tuple[str, str]]:
    training = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.training.items())
    items = [
        (visible(probe), ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in of.items()))
        for probe, of in found.items.items()
    ]
    trained = [("trained here", visible(training))] if training else []
    return [("checkpoints", visible(found.checkpoints)), ("depth", f"{found.depth:g}"), *trained, *items]
