"""The page of a continuation: the text shaded by every method side by side, the curves of their rankings; of many prompts a forest."""

from collections.abc import Sequence
from itertools import pairwise
from math import exp
from typing import Any

from evals.continuation import KINDS, TRUTHS, Continuation, ContinuationBy, Curves, Kind
from evals.continuation_compare import Compared, Comparison, PromptFailure
from evals.results import Failure, Lift
from explicate.attribution_table import drawn_sentence
from explicate.axis import Axis
from explicate.continuation_table import (
    RULE,
    agreed,
    best_first,
    control_sentence,
    evaluated_sentence,
    facts,
    gap_sentence,
    instead_sentence,
    size_sentence,
    trust_sentence,
)
from explicate.forest import forest, mark
from explicate.pages import environment, trusted
from explicate.shaded_words import QUIET, shares, visible
from explicate.written_file import forms

WIDTH, HEIGHT = 300.0, 110.0
"""Of the drawing of a curve, without room for numbers."""


def render(found: Continuation | Comparison) -> str:
    """The whole page."""
    one = found if isinstance(found, Continuation) else None
    many = found if isinstance(found, Comparison) else None
    page = environment().get_template("continuation.html")
    title = (
        "Which methods to trust on this model?" if one is None else f"Which units of the text make it go on with {visible(one.target)!r}?"
    )
    return str(
        page.render(
            css=trusted("style.css"),
            title=title,
            model=visible(found.model["name"]),
            identity=[(visible(key), visible(value)) for key, value in found.model.items()],
            chat=found.chat,
            seed=found.seed,
            notes=list(map(visible, found.notes)),
            operator="taking tokens out" if found.unit == "token" else f"operator {found.operator}",
            prompt=None if one is None else _prompt(one),
            evaluated=None if one is None else f"{evaluated_sentence(one)}{drawn_sentence(_held(one), 'sets')}.",
            sizes=size_sentence(found),
            curves=None if one is None or one.random is None else {kind: _charts(one, kind) for kind in KINDS},
            many=None if many is None else _many(many),
        )
    )


FORMS = forms(render)
"""What a file is written as, by its ending."""


def _prompt(found: Continuation) -> dict[str, Any]:
    """One text, shaded by every method, and what its rankings come to."""
    places = _places(found.text, found.units)
    lines, failed = [], []
    truths = [truth for truth in TRUTHS if any(truth in by.agreement for by in _held(found).values())]
    for name, by in found.methods.items():
        if isinstance(by, Failure):
            failed.append({"name": name, "why": visible(by.reason)})
            continue
        told = [*([] if by.sets is None else [f"{by.sets:,} sets of units"]), *facts(by)]
        lines.append(
            {
                "name": name,
                "runs": _runs(found, by, places),
                "figures": _figures(by, truths),
                "facts": "; ".join(told),
                "gap": gap_sentence(by),
            }
        )
    return {
        "target": visible(found.target),
        "value": f"{found.value:.2f}",
        "chance": f"{exp(found.value):.2g}",
        "instead": visible(instead_sentence(found)),
        "lines": lines,
        "controls": [{"name": name, "figures": _figures(by, truths)} for name, by in found.controls.items() if found.random is not None],
        "failed": failed,
        "truths": truths,
        "compared": found.random is not None,
        "outside": [visible(token) for token in found.outside],
    }


def _held(found: Continuation) -> dict[str, ContinuationBy]:
    """The methods that found something."""
    return {name: by for name, by in found.methods.items() if isinstance(by, ContinuationBy)}


def _figures(by: ContinuationBy, truths: Sequence[str]) -> list[str]:
    """Agreement with the truths, and in a comparison what the ranking does."""
    held = [] if by.normalised is None or by.aopc is None else [part[kind] for kind in KINDS for part in (by.aopc, by.normalised)]
    return [*(_number(by.agreement[truth]) if truth in by.agreement else "" for truth in truths), *map(_number, held)]


def _many(found: Comparison) -> dict[str, Any]:
    """Every method over the prompts, those to trust first, and the prompts themselves."""
    ordered = best_first(found)
    truths = agreed(found)
    controls = list(found.controls.items())
    sizes = controls if size_sentence(found) else []
    charts = [
        {
            "title": "Deletion, 0 as random orders, 1 as the best order found",
            "chart": forest(
                [
                    *(_mark(name, each, each.deletion) for name, each in ordered),
                    *(mark(name, control.deletion, "free") for name, control in controls),
                ]
            ),
        },
        *(
            {
                "title": f"Agreement with {truth} (Spearman over units)",
                "chart": forest(
                    [
                        *(_mark(name, each, each.agreement[truth]) for name, each in ordered if truth in each.agreement),
                        *(mark(name, control.agreement[truth], "free") for name, control in controls),
                        *(mark(f"{name}, sizes", control.agreement_with_sizes[truth], "free") for name, control in sizes),
                    ]
                ),
            }
            for truth in truths
        ),
        {
            "title": "Insertion, 0 as random orders, 1 as the best order found",
            "chart": forest(
                [
                    *(_mark(name, each, each.insertion) for name, each in ordered),
                    *(mark(name, control.insertion, "free") for name, control in controls),
                ]
            ),
        },
    ]
    figures = [*truths, *KINDS]
    rows = [
        {
            "name": name,
            "trusted": each.trusted,
            "void": each.void,
            "q": "none" if each.q is None else f"{each.q:.3f}",
            "n": each.n,
            "n_failed": each.n_failed,
            "lifts": [_lift(each.lift.get(figure)) for figure in figures],
            "why": [f"{missing.n}: {visible(missing.reason)}" for missing in each.missing],
        }
        for name, each in ordered
    ]
    prompts = []
    for each in found.prompts:
        if isinstance(each, PromptFailure):
            prompts.append({"text": visible(each.text), "target": visible(each.target), "why": visible(each.reason)})
        else:
            prompts.append({"text": visible(each.text), **_prompt(each)})
    return {
        "source": visible(found.source),
        "n": len(found.prompts),
        "trust": trust_sentence(found),
        "any": bool(found.trusted),
        "too_few": found.too_few,
        "rule": RULE,
        "charts": charts,
        "lifts": [figure if figure in KINDS else f"agreement with {figure}" for figure in figures],
        "controls": control_sentence(found),
        "rows": rows,
        "prompts": prompts,
        "way": "tokens taken out" if found.unit == "token" else f"{found.unit} by {found.operator}",
    }


def _lift(found: Lift | Failure | None) -> dict[str, str]:
    """A figure less that of the best control; empty where the method has no such figure, as a truth's agreement with itself."""
    if found is None:
        return {}
    if isinstance(found, Failure):
        return {"why": found.reason}
    return {"value": f"{found.value:+.2f}", "interval": f"[{_number(found.low)}, {_number(found.high)}]", "over": found.over}


def _mark(name: str, each: Compared, value: Any) -> dict[str, Any]:
    return mark(name, value, "ours" if each.trusted else "")


def _places(text: str, units: Sequence[str]) -> list[int]:
    """[unit] where each begins."""
    places, end = [], 0
    for unit in units:
        places.append(text.index(unit, end))
        end = places[-1] + len(unit)
    return places


def _runs(found: Continuation, by: ContinuationBy, places: Sequence[int]) -> list[dict[str, Any]]:
    """The text as it stands, its units shaded."""
    ends = [at + len(unit) for at, unit in zip(places, found.units, strict=True)]
    gaps = [found.text[end:at] for end, (_, at) in zip(ends, pairwise(places), strict=False)] + [found.text[ends[-1] :]]
    runs: list[dict[str, Any]] = [{"text": _spaced(found.text[: places[0]])}]
    for number, (unit, share, gap) in enumerate(zip(found.units, shares(by.values), gaps, strict=True)):
        run: dict[str, Any] = {"text": visible(unit)}
        if abs(share) >= QUIET:
            error = "" if by.errors is None else f" ± {by.errors[number]:.3g}"
            run |= {
                "for": f"{max(share, 0):.2f}",
                "against": f"{max(-share, 0):.2f}",
                "title": f"{by.values[number]:{'+' if by.signed else ''}.3g}{error}",
            }
        runs += [run, {"text": _spaced(gap)}]
    return [run for run in runs if run["text"]]


def _spaced(gap: str) -> str:
    """What stands between units: line ends stay."""
    return "\n".join(map(visible, gap.split("\n")))


def _number(value: float | Failure) -> str:
    return f"{round(value, 2) + 0.0:.2f}" if isinstance(value, float) else "none"


def _charts(found: Continuation, kind: Kind) -> dict[str, Any]:
    """A drawing for every method on one scale: its curve beside the mean of random orders and the best one found."""
    assert found.random is not None
    assert found.best is not None
    held = _held(found)
    beside = _values(found.random, kind), _values(found.best, kind)
    known = [value for values in (*beside, *(_values(by, kind) for by in held.values())) for value in values]
    axis = Axis.of(known, ticks=3)
    random, best = (_path(values, axis) for values in beside)
    return {
        "ticks": [{"text": tick["text"], "y": round(HEIGHT * (1 - float(str(tick["at"])) / 100), 1)} for tick in axis.ticks],
        "random": random,
        "best": best,
        "n": len(found.units),
        "methods": [
            {"name": name, "path": _path(_values(by, kind), axis), "aopc": _number((by.aopc or {})[kind])} for name, by in held.items()
        ],
        "width": WIDTH,
        "height": HEIGHT,
    }


def _values(of: Curves | ContinuationBy, kind: Kind) -> list[float]:
    return (of.deletion if kind == "deletion" else of.insertion) or []


def _path(values: Sequence[float], axis: Axis) -> str:
    """Points of a line, x to the right, y downwards."""
    step = WIDTH / max(1, len(values) - 1)
    return " ".join(f"{at * step:.1f},{HEIGHT * (1 - axis.place(value) / 100):.1f}" for at, value in enumerate(values))
