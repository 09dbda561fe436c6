"""The page of a probe: its figure beside chance and every baseline, over layers, what it draws of its own, and what it does not show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.results import Failure, Value
from explicate.axis import Axis
from explicate.curve_chart import Level, Line, curve_chart
from explicate.pages import environment, trusted
from explicate.probe_words import (
    KNOWS,
    LEVELS,
    MEANINGS,
    SILENT,
    above_all,
    at_best,
    baseline_name,
    chance,
    claimed,
    gain,
    interval,
    located,
    metric_name,
    number,
    p_told,
    signed,
    told,
    verdict,
    where,
)
from explicate.scatter import digest_of_script, is_scatter
from explicate.shaded_words import visible

if TYPE_CHECKING:
    from evals.probes.results import Baseline, Layer, Lift, Probed

KINDS = {"Seen": "good", "Not seen": "dim", "The opposite": "bad", "Not measured": "bad"}
"""Classes in the style sheet."""
LINE_KINDS: Mapping[str, str] = {"random_init": "random", "control": "line1", "mlp": "line3"}
MAIN_WIDTH, MAIN_HEIGHT = 370.0, 230.0
"""Of the chart of the metric that counts."""
LETTER, BEFORE = 5.8, 16.0
"""Room beside it for a letter of a name, and before the name."""


@dataclass(frozen=True)
class Drawing:
    """A picture of a probe's own on its page."""

    title: str
    says: str
    """One or two sentences: what is seen and what that does not show."""
    svg: str
    """Markup of our own making, put into the page as it is: all text of models and corpora in it is escaped already."""
    wide: bool = False
    """Whether it takes the whole width of the page."""


def page(found: "Probed", *, title: str, drawings: Sequence[Drawing] = ()) -> str:
    """The whole page."""
    from markupsafe import Markup

    against = chance(found)
    word, which = above_all(found)
    scripted = any(is_scatter(each.svg) for each in drawings)
    others = dict.fromkeys(name for each in found.layers for name in each.metrics if name != found.main)
    return str(
        environment()
        .get_template("probe.html")
        .render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            scatter_css=trusted("scatter.css"),
            script=trusted("scatter.js") if scripted else None,
            digest=digest_of_script() if scripted else None,
            title=visible(title),
            model=visible(found.model["name"]),
            task=visible(found.task),
            unit=visible(found.unit),
            items=[(visible(name.replace("_", " ")), f"{count:,}") for name, count in found.items.items()],
            main=metric_name(found.main),
            meaning=MEANINGS.get(found.main, ""),
            best=found.best,
            where=where(found),
            figure=told(at_best(found)),
            chance=None if against is None else (against[0], _alone(against[1])),
            word=claimed(word),
            word_kind=KINDS[word],
            which=which,
            silent=SILENT,
            chart=_chart(found, found.main, large=True),
            narrow=_chart(found, found.main),
            lifts=_lifts(found),
            charts=[_chart(found, name) for name in others],
            drawings=[
                {"title": visible(each.title), "says": visible(each.says), "svg": Markup(each.svg), "wide": each.wide}  # noqa: S704
                for each in drawings
            ],
            tables=_tables(found),
            figures=[_figure(name, value) for name, value in found.figures.items()],
            knows={baseline_name(name): KNOWS[name] for name in (*found.baselines, *found.curves) if name in KNOWS},
            measures=[(metric_name(name), MEANINGS[name]) for name in (found.main, *others) if name in MEANINGS],
            notes=[visible(note) for note in found.notes],
            seed=found.seed,
            identity=[(visible(key), visible(value)) for key, value in (*found.model.items(), ("pool", found.pool), *found.source.items())],
        )
    )


def _chart(found: "Probed", metric: str, *, large: bool = False) -> dict[str, Any]:
    """One metric over layers: the probe's, further curves, and what is not of a layer as lines across."""
    curves = {"": found.layers, **{name: curve for name, curve in found.curves.items() if any(metric in each.metrics for each in curve)}}
    lines = []
    for place, (name, curve) in enumerate(curves.items()):
        known = [(float(each.layer), each.metrics[metric]) for each in curve if metric in each.metrics]
        kind = LINE_KINDS.get(name, f"line{place % 4}")
        shown = baseline_name(name) if name else "the probe"
        lines.append(Line(shown, kind, [layer for layer, _ in known], [value for _, value in known]))
    beside = {
        name: value
        for name, baseline in found.baselines.items()
        if name not in curves and isinstance(value := baseline.metrics.get(metric), Value)
    }
    levels = [Level(f"{baseline_name(name)} {number(value.value)}", value.value) for name, value in beside.items()]
    if not levels and metric in LEVELS:
        levels = [Level("chance", LEVELS[metric])]
    title = metric_name(metric)
    beside_it = BEFORE + LETTER * max(len(level.name) for level in levels) if levels else 0.0
    size = {"width": MAIN_WIDTH, "height": MAIN_HEIGHT, "beside": beside_it} if large else {}
    return curve_chart(title[:1].upper() + title[1:], "layer", lines, interval, levels=levels, marked=found.best, **size)


def _lifts(found: "Probed") -> dict[str, Any]:
    """A row for each baseline: how far the probe lies above it, as percentages of one axis."""
    known = [lift for lift in found.lifts.values() if not isinstance(lift, Failure)]
    axis = Axis.of((end for lift in known for end in (lift.low, lift.value, lift.high)), ticks=4)
    return {
        "rows": [_lift(name, lift, found.baselines.get(name), found.main, found.best, axis) for name, lift in found.lifts.items()],
        "ticks": axis.ticks if known else [],
        "zero": axis.place(0.0),
    }


def _lift(name: str, lift: "Lift | Failure", baseline: "Baseline | None", main: str, best: int, axis: Axis) -> dict[str, Any]:
    value = None if baseline is None else baseline.metrics.get(main)
    word = verdict(lift)
    row = {
        "name": located(name, baseline, best),
        "knows": KNOWS.get(name, ""),
        "of": "" if value is None else told(value),
        "word": word,
        "kind": KINDS[word],
    }
    if isinstance(lift, Failure):
        return row | {"reason": visible(lift.reason)}
    left = axis.place(lift.low)
    return row | {
        "at": axis.place(lift.value),
        "left": left,
        "width": round(axis.place(lift.high) - left, 2),
        "value": signed(lift.value),
        "interval": gain(lift).partition(" ")[2],
        "p": p_told(lift.p),
    }


def _tables(found: "Probed") -> list[dict[str, Any]]:
    """All metrics of layers, of further curves and of baselines."""
    series = {"the probe": found.layers, **{baseline_name(name): curve for name, curve in found.curves.items()}}
    tables = [
        _table(name, "layer", {str(each.layer): each for each in curve}, best=str(found.best) if curve is found.layers else None)
        for name, curve in series.items()
    ]
    named = {located(name, each, None): each for name, each in found.baselines.items()}
    return [*tables, *([_table("baselines", "baseline", named)] if named else [])]


def _table(title: str, of: str, rows: "Mapping[str, Layer] | Mapping[str, Baseline]", best: str | None = None) -> dict[str, Any]:
    names = list(dict.fromkeys(name for each in rows.values() for name in each.metrics))
    return {
        "title": title,
        "of": of,
        "heads": [metric_name(name) for name in names],
        "rows": [
            {
                "name": name,
                "best": name == best,
                "cells": ["" if (value := each.metrics.get(key)) is None else told(value) for key in names],
            }
            for name, each in rows.items()
        ],
    }


def _figure(name: str, value: Value | Failure) -> dict[str, str]:
    return {"name": metric_name(name), "told": told(value), "n": "" if isinstance(value, Failure) else f"{value.n:,}"}


def _alone(value: Value | float) -> str:
    """Without its interval."""
    return number(value if isinstance(value, float) else value.value)
