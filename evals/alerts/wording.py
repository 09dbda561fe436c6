"""Events and numbers in words that every way of telling shares: one line each, nothing in them steers a terminal or a mail."""

from collections.abc import Sequence

from agents.untrusted import one_line
from evals.alerts.state import Event
from evals.comparison.results import Change, ProvenanceChange
from evals.results import Failure, Value

NAMED = 5
"""Missing metrics that are named; the rest are counted."""


def headline(suite: str, events: Sequence[Event]) -> str:
    """The events of a suite, counted."""
    counts = {state: sum(event.state == state for event in events) for state in ("regressed", "failed", "missing", "recovered")}
    words = {"missing": "with metrics missing"}
    said = ", ".join(f"{count} {words.get(state, state)}" for state, count in counts.items() if count)
    return f"{one_line(suite)}: {said or 'nothing new'}"


def sentence(event: Event) -> str:
    """What happened, with the numbers."""
    what = metric_name(event.task, event.name, event.of)
    if event.change is not None:
        return f"{what} {_verb(event)}: {numbers(event.change)}"
    if event.missing:
        named = ", ".join(one_line(name) for name in event.missing[:NAMED])
        rest = f" and {len(event.missing) - NAMED} more" if len(event.missing) > NAMED else ""
        return f"{what} lacks metrics that the baseline has: {named}{rest}"
    return f"{what} has all metrics of the baseline again"


def metric_name(task: str, name: str, of: str) -> str:
    """Task, metric and what it is of."""
    inner = one_line(" ".join(part for part in (name, f"({of})" if of else "") if part))
    return ": ".join(part for part in (one_line(task), inner) if part) or "the run"


def numbers(change: Change) -> str:
    """Before, after and their difference."""
    said = f"{shown(change.before)} -> {shown(change.after)}"
    if isinstance(change.difference, Value):
        said += f", difference {shown(change.difference, sign=True)}"
        said += f" over {change.difference.n} {'shared items' if change.paired else 'items, not the same ones'}"
    return said + (f", q = {change.q:.2g}" if change.q is not None else "")


def shown(value: Value | Failure, *, sign: bool = False) -> str:
    """A value with its interval, or why there is none."""
    if isinstance(value, Failure):
        return f"failed ({one_line(value.stage)}: {one_line(value.reason)})"
    plus = "+" if sign else ""
    return f"{value.value:{plus}.3g} [{value.low:{plus}.3g}, {value.high:{plus}.3g}]"


def provenance(change: ProvenanceChange) -> str:
    """What is not what it was."""
    where = f"{one_line(change.task)}: " if change.task else ""
    return f"{where}{one_line(change.what)}: {one_line(change.before) or 'none'} -> {one_line(change.after) or 'none'}"


def _verb(event: Event) -> str:
    return "is back" if event.state == "recovered" else event.state
