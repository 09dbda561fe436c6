"""The page of `explicate influence evaluate`: each thing that is known, how well influence finds it, and every other ranking beside it."""

from typing import Any

from evals.influence.evaluate_results import Evaluated, Measure
from evals.results import Failure, Value
from explicate.axis import Axis
from explicate.influence_words import KNOWN, METHODS, SILENT_EVALUATION, measure_words, method_name, verdict_of
from explicate.pages import environment, trusted
from explicate.probe_words import interval, number, signed, told
from explicate.shaded_words import visible
from explicate.written_file import forms

KINDS = {"Above": "good", "Not above": "dim", "Below": "bad", "Not measured": "bad"}
"""Classes in the style sheet."""


def render(found: Evaluated) -> str:
    """The whole page."""
    page = environment().get_template("influence_evaluation.html")
    return str(
        page.render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title="How well influence finds what is known",
            known=told(found.known),
            known_by_chance=f"{found.known_by_chance:.2f}",
            found=found,
            headline=headline(found),
            first=METHODS["ekfac"],
            sections=[section(name, measure) for name, measure in found.measures.items()],
            silent=SILENT_EVALUATION,
            notes=[visible(note) for note in found.notes],
            identity=[(visible(key), visible(value)) for key, value in found.source.items()],
        )
    )


FORMS = forms(render)


def headline(found: Evaluated) -> str:
    """Recall and LDS beside BM25."""
    parts = []
    for name in ("recall_at_10", "lds"):
        figures = found.measures[name].figures
        ours, words = figures["ekfac"], figures["bm25"]
        if isinstance(ours, Value) and isinstance(words, Value):
            parts.append(f"{measure_words(name)[0]} {interval(ours)}; BM25 {interval(words)}")
    return ". ".join(parts)


def section(name: str, measure: Measure) -> dict[str, Any]:
    """A measure for the template: its words, and the positions of every figure."""
    title, says = measure_words(name)
    values = measure.figures
    ends = [end for value in values.values() if isinstance(value, Value) for end in (value.low, value.value, value.high)]
    axis = Axis.of([*ends, *([] if measure.chance is None else [measure.chance]), 0.0], ticks=4)
    return {
        "name": visible(name),
        "title": title,
        "says": says,
        "over": measure.over,
        "chance": None if measure.chance is None else {"at": axis.place(measure.chance), "told": number(measure.chance)},
        "rows": [_row(key, value, measure, axis) for key, value in values.items()],
        "ticks": axis.ticks,
        "zero": axis.place(0.0),
    }


def _row(name: str, value: Value | Failure, measure: Measure, axis: Axis) -> dict[str, Any]:
    lift = measure.lifts.get(name)
    word = "" if lift is None else verdict_of(lift)
    row = {
        "name": method_name(name),
        "knows": KNOWN.get(name, ""),
        "ours": name in METHODS,
        "told": told(value),
        "word": word,
        "kind": KINDS.get(word, "dim"),
        "lift": "" if not isinstance(lift, Value) else f"{signed(lift.value)} [{signed(lift.low)}, {signed(lift.high)}]",
    }
    if isinstance(value, Failure):
        return row
    left = axis.place(value.low)
    return row | {"at": axis.place(value.value), "left": left, "width": round(axis.place(value.high) - left, 2)}
