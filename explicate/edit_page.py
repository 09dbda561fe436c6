"""The page of `explicate edit`: every measure of every method beside its controls, each edit before and after, and all in sequence."""

from collections.abc import Sequence
from math import log2
from pathlib import Path
from typing import Any

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced
from evals.editing.config import UNEDITED, is_control
from evals.editing.measures import MEASURES
from evals.editing.results import Edited, EditTold, Outcome, Step
from evals.results import Failure, Value
from explicate.axis import Axis
from explicate.curve_chart import Line, curve_chart
from explicate.edit_words import (
    KNOWS,
    MEANINGS,
    RANDOM,
    SILENT,
    headline,
    layers_told,
    measure_name,
    method_name,
    seconds_told,
)
from explicate.forest import forest, mark
from explicate.pages import environment, trusted
from explicate.probe_words import interval, number, told
from explicate.shaded_words import visible

RESULTS, PAGE = "results.json", "report.html"
DRAWN = 40
"""Edits whose odds are drawn."""
PARTS = ("edit_success", "generalisation", "portability", "locality", "score")
"""Measures that are drawn, as shares."""


def check_folder(folder: Path) -> None:
    """Raise ExplicateError where no folder can be, before a model is loaded."""
    if folder.suffix.lower() in (".html", ".json", ".safetensors"):
        raise ExplicateError(f"--out {str(folder)!r}: name a folder, such as edited/; the edits, the figures and the page go into it")
    if folder.exists() and not folder.is_dir():
        raise ExplicateError(f"--out {str(folder)!r} is a file; name a folder, such as edited/")
    if not folder.absolute().parent.is_dir():
        raise ExplicateError(f"--out {str(folder)!r}: there is no folder {str(folder.absolute().parent)!r}; make it, or name another one")


def write_edited(found: Edited, folder: Path) -> Path:
    """The figures and the page beside the edits; gives the page's path."""
    for name, text in ((RESULTS, found.model_dump_json() + "\n"), (PAGE, render(found))):
        with replaced(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / PAGE


def render(found: Edited) -> str:
    """The whole page."""
    return str(
        environment()
        .get_template("edit.html")
        .render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title=f"Facts edited in {visible(found.model['name'])}",
            edits=len(found.edits),
            layers=visible(layers_told(found)),
            headlines=[{"name": name, "says": visible(says), "word": word, "good": word == "Seen"} for name, says, word in headline(found)],
            silent=SILENT,
            restored=found.restored_exactly,
            saved=None if found.saved is None else method_name(found.saved),
            charts=[_forest(found, name) for name in PARTS if _measured(found, name)],
            odds=_odds(found),
            sequence=_sequence(found),
            facts=[_fact(found, each) for each in found.edits],
            heads=[method_name(name) for name in found.methods if not is_control(name)],
            after=not found.methods,
            table=_table(found),
            names=[method_name(name) for name in found.methods],
            above=[
                {"name": method_name(name), "cells": [(method_name(other), told(value)) for other, value in above.items()]}
                for name, above in found.above.items()
            ],
            notes=[visible(note) for note in found.notes],
            left_out=[(visible(name), visible(why)) for name, why in found.left_out],
            seconds=seconds_told(found),
            knows=[(method_name(name), KNOWS.get(name, RANDOM)) for name in found.methods],
            meanings=[(measure_name(name), MEANINGS[name]) for name in MEASURES if _measured(found, name)],
            seed=found.seed,
            identity=_identity(found),
        )
    )


def _measured(found: Edited, name: str) -> bool:
    return any(isinstance(each.get(name), Value) for each in found.methods.values())


def _forest(found: Edited, name: str) -> dict[str, Any]:
    marks = [
        mark(method_name(method), measures[name], "raw" if is_control(method) else "ours") for method, measures in found.methods.items()
    ]
    return {"title": measure_name(name), "means": MEANINGS[name], "chart": forest(marks, lowest=0.0)}


def _odds(found: Edited) -> dict[str, Any] | None:
    """Of every edit how much likelier the new target is than the true one, in nats a token: a dot for each method."""
    known = [each for each in found.edits if any(_gap(outcome) is not None for outcome in each.outcomes.values())][:DRAWN]
    if not known:
        return None
    gaps = [gap for each in known for outcome in each.outcomes.values() if (gap := _gap(outcome)) is not None]
    axis = Axis.of(gaps)
    names = [name for name in found.methods if any(name in each.outcomes for each in known)]
    rows = []
    for each in known:
        dots = [
            {"kind": _kind(found, name), "at": axis.place(gap), "says": f"{method_name(name)}: {number(gap)}", "name": name}
            for name in names
            if name in each.outcomes and (gap := _gap(each.outcomes[name])) is not None
        ]
        rows.append({"name": visible(f"{each.subject}: {(each.true or '').strip()} → {each.target.strip()}"), "dots": dots})
    return {
        "rows": rows,
        "ticks": axis.ticks,
        "zero": axis.place(0.0),
        "names": [{"kind": _kind(found, name), "name": method_name(name)} for name in names],
        "more": len(found.edits) - len(known),
    }


def _gap(outcome: Outcome) -> float | None:
    return None if outcome.logprob_true is None else outcome.logprob - outcome.logprob_true


def _kind(found: Edited, name: str) -> str:
    if is_control(name):
        return "of-unedited" if name == UNEDITED else "of-random"
    return f"line{[each for each in found.methods if not is_control(each)].index(name) % 4}"


def _sequence(found: Edited) -> list[dict[str, Any]]:
    """A chart for each of what is looked at, a line for each method; the places are log2(1 + edits)."""
    if not found.sequence:
        return []
    charts = []
    for title, of in (("Success on the edits so far", "success"), ("Locality", "locality"), ("Perplexity of held-out text", "perplexity")):
        lines = [
            Line(method_name(name), _kind_of(found, name), _places(steps), [getattr(step, of) for step in steps])
            for name, steps in found.sequence.items()
        ]
        chart = curve_chart(title, "edits", lines, interval)
        counts = {f"{log2(1 + step.edits):g}": step.edits for steps in found.sequence.values() for step in steps}
        for tick in chart["x"]:
            tick["text"] = f"{counts[tick['text']]:,}"
        for line, steps in zip(chart["lines"], found.sequence.values(), strict=True):
            values = [(step.edits, getattr(step, of)) for step in steps]
            for point, (count, value) in zip(line["points"], [each for each in values if not isinstance(each[1], Failure)], strict=True):
                point["says"] = f"{line['name']}, {count:,} edits: {interval(value)}"
        charts.append(chart)
    return charts


def _kind_of(found: Edited, name: str) -> str:
    return _kind(found, name) if name in found.methods else f"line{list(found.sequence).index(name) % 4}"


def _places(steps: Sequence[Step]) -> list[float]:
    return [log2(1 + step.edits) for step in steps]


def _fact(found: Edited, each: EditTold) -> dict[str, Any]:
    """A row: what is asked, the new target, and what is said; what begins with the new target is marked."""
    after = [each.outcomes[name].text for name in found.methods if not is_control(name) and name in each.outcomes]
    if not found.methods and each.after is not None:
        after = [each.after]
    new = each.target.strip()
    return {
        "prompt": visible(each.prompt),
        "true": visible((each.true or "").strip()),
        "new": visible(new),
        "before": visible(each.before),
        "knew": each.knew,
        "after": [{"text": visible(text), "new": text.strip().startswith(new)} for text in after],
    }


def _table(found: Edited) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for each in found.methods.values() for name in each))
    names = [name for name in names if _measured(found, name)]
    order = sorted(names, key=lambda name: (MEASURES.index(name.partition("/")[0]), name))
    return [
        {
            "name": measure_name(name),
            "cells": [told(each[name]) if name in each else "" for each in found.methods.values()],
            "n": max((value.n for each in found.methods.values() if isinstance(value := each.get(name), Value)), default=0),
        }
        for name in order
    ]


def _identity(found: Edited) -> list[tuple[str, str]]:
    said = [(visible(key), visible(value)) for key, value in found.model.items()]
    said += [(f"keys from {visible(key)}", visible(value)) for key, value in found.corpus.items()]
    return said + [(visible(name), visible(digest)) for name, digest in found.source.items()]
