"""The contract of an audit's results.json (docs/results.md): additive, as that of the other commands."""

from typing import Any, Literal

from pydantic import Field, model_validator

from evals.results import SCHEMA, Failure, Value, _Model

Verdict = Literal["faithful", "no better than chance", "anti-faithful", "undecided"]


class Metric(Value):
    """The mean of a metric over items, with what it is to be held against. n counts items."""

    random: float | Failure
    """Mean of random rankings of the same items."""
    n_random: int = 0
    """Items that `random`, `normalised` and `p` are of."""
    best: float | Failure
    """Mean of what the best ranking found of each item has; a Failure where only one ranking is known."""
    normalised: Value | Failure
    """On a scale where random is 0 and best is 1."""
    p: float | None
    """One-sided, (1+#)/(1+M): how often M random rankings do as well; None where there are none."""
    q: float | None = None
    """p after Benjamini-Hochberg over the metrics of the model's own explanations; None for another source, whose tests are no question."""


class Published(_Model):
    """Mean over the items that the published formula is defined on."""

    value: float
    n: int


class Agreement(Value):
    """Mean of a measure over items. n counts items."""

    random: float
    """The same with the units of the model's own explanation in random places."""


class Missing(Failure):
    """Why items are left out of a metric, and how many."""

    n: int


class AuditRow(_Model):
    """One source of explanations under one way of asking and of perturbing."""

    source: str
    """self, or what the self-explanation is held against: occlusion, ..."""
    elicitation: str
    order: str
    """explain-first or predict-first; empty where it is not known."""
    operator: str
    n: int
    """Items with an explanation."""
    n_failed: int
    """Items without one."""
    n_constant: int
    """Items whose explanation gives all units one value, and so ranks them at random."""
    metrics: dict[str, Metric | Failure]
    missing: dict[str, list[Missing]] = Field(default_factory=dict)
    """By metric."""
    paper_compat: dict[str, Published | Failure] = Field(default_factory=dict)
    """The same as published code computes it, on the same answers; empty where there are not two labels."""


class PairedDifference(Value):
    """A metric of one source minus that of another, on the items that have both. n counts items."""

    metric: str
    a: str
    b: str
    elicitation: str
    order: str
    operator: str
    p: float
    """Two-sided, signs of the items' differences exchanged, (1+#)/(1+M)."""
    q: float | None = None
    """p after Benjamini-Hochberg over all differences of the audit."""


class AuditResults(_Model):
    """results.json of an audit."""

    schema_version: int = SCHEMA
    rows: list[AuditRow]
    paired_differences: list[PairedDifference]
    agreement: dict[str, dict[str, Agreement | Failure]]
    """`self, occlusion by size` -> measure -> mean over items."""
    n_items: int
    verdict: Verdict
    verdict_reason: str
    manifest: dict[str, Any]


class Answered(_Model):
    """A recorded answer."""

    label: str
    confidence: float


class AuditItem(_Model):
    """A line of items.jsonl."""

    text: str
    units: list[str]
    gold: str | None
    answer: Answered | Failure
    attributions: dict[str, list[float] | Failure]
    """By source: [unit], signed for the predicted label."""
    effects: list[float] | Failure
    """[unit] drop of f when it alone is left out."""
    metrics: dict[str, dict[str, float | Failure]]
    """By source and metric."""

    @model_validator(mode="after")
    def _of_every_unit(self) -> "AuditItem":
        for values in (self.effects, *self.attributions.values()):
            if not isinstance(values, Failure) and len(values) != len(self.units):
                raise ValueError(f"{len(values)} values for {len(self.units)} units")
        return self
