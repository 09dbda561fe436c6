"""Which few of a run's many metrics stand for it where there is room for few."""

from collections.abc import Collection, Sequence
from typing import TypeVar

from evals.database import MetricRow
from evals.metrics import Key, Metric
from evals.results import Value

AnyMetric = TypeVar("AnyMetric", bound=Metric | MetricRow)

NAMES = (
    "lift",
    "comprehensiveness_normalised",
    "ece",
    "ece_floor",
    "comprehensiveness",
    "pearson_null_contrast",
    "auroc",
    "accuracy",
    "sufficiency",
    "brier",
    "pearson",
)
"""From the one that says most: what is held against a control comes before what is not."""
OWN = ("self", "vanilla", "")
"""How `of` begins for what the model says itself; other sources are what it is held against."""


def headlines(metrics: Sequence[AnyMetric], most: int, alarming: Collection[Key] = ()) -> list[AnyMetric]:
    """At most so many: those that alarm first, then of every task and name one before a second of any; what failed comes last."""
    first_of_all = [each for each in metrics if (each.task, each.name, each.of) in alarming]
    ranked = sorted((each for each in metrics if each not in first_of_all), key=_rank)
    first: dict[tuple[str, str], AnyMetric] = {}
    for each in ranked:
        first.setdefault((each.task, each.name), each)
    leading = sorted(first.values(), key=_rank)
    others = [each for each in ranked if each not in leading]
    return [*first_of_all, *leading, *others][:most]


def _rank(metric: Metric | MetricRow) -> tuple[bool, bool, int, bool]:
    known = NAMES.index(metric.name) if metric.name in NAMES else len(NAMES)
    own = not metric.of or metric.of.split()[0] in OWN
    return not own, not isinstance(metric.value, Value), known, not metric.better
