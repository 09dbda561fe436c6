"""What the tests of alerts share: comparisons as a run could have them, and events of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from evals.alerts.state import Event
from evals.comparison.results import Change, Comparison, MetricKey, ProvenanceChange
from evals.results import Failure, Value

HOSTILE = "</td><script>alert(1)</script>|@all **x** [a](https://evil.example) `c`\n# h\x00\u2028&\ud800"
"""A name that would be markup, a mention, a link, a line of its own, and is no XML and no UTF-8."""


@pytest.fixture
def hostile() -> str:
    return HOSTILE


@pytest.fixture
def make_change() -> Callable[..., Change]:
    """make_change("regressed", name="ece"): a watched change of that verdict, with changes to its fields."""

    def build(verdict: str = "regressed", **fields: Any) -> Change:
        gone = Failure(stage="replies", reason="no reply could be read")
        number = Value(value=0.5, low=0.4, high=0.6, n=50)
        after: Value | Failure = gone if verdict == "failed" else Value(value=0.2, low=0.1, high=0.3, n=50)
        difference: Value | Failure = gone if verdict == "failed" else Value(value=-0.3, low=-0.4, high=-0.2, n=50)
        plain = {
            "task": "reviews",
            "name": "comprehensiveness",
            "of": "self attribution",
            "better": "higher",
            "before": number,
            "after": after,
            "difference": difference,
            "paired": True,
            "p": 0.001,
            "q": 0.004,
            "verdict": verdict,
            "watched": True,
        }
        return Change.model_validate(plain | fields)

    return build


@pytest.fixture
def make_comparison() -> Callable[..., Comparison]:
    """make_comparison(change, ..., missing=[(task, name, of)]): a comparison with these changes."""

    def build(*changes: Change, missing: list[tuple[str, str, str]] | None = None, **fields: Any) -> Comparison:
        provenance = [ProvenanceChange(task="reviews", what="model", before="small", after="other")]
        keys = [MetricKey(task=task, name=name, of=of) for task, name, of in missing or []]
        plain = {"run": "runs/today", "baseline": "runs/base", "suite": "nightly", "alpha": 0.05, "provenance": provenance}
        return Comparison(**{**plain, "changes": list(changes), "missing": keys, **fields})

    return build


@pytest.fixture
def make_event(make_change: Callable[..., Change]) -> Callable[..., Event]:
    """make_event("regressed"): an event about a change, with changes to its fields."""

    def build(state: str = "regressed", **fields: Any) -> Event:
        change = make_change("unchanged" if state in ("recovered", "missing") else state)
        plain = {
            "id": "0" * 32,
            "suite": "nightly",
            "key": "[]",
            "task": change.task,
            "name": change.name,
            "of": change.of,
            "state": state,
            "since": datetime(2026, 1, 2, tzinfo=UTC),
            "run": "runs/today",
            "baseline": "runs/base",
            "change": change,
        }
        return Event.model_validate(plain | fields)

    return build
