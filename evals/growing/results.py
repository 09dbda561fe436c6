"""What `explicate grow --json` prints (docs/results.md)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Moment(_Model):
    """A checkpoint that was measured."""

    step: int
    name: str
    revision: str
    """The Hub's commit, or a hash of every file that decides what the model answers."""


class Chance(_Model):
    """What a curve is read against."""

    value: float
    of: str
    """What gets it."""


class Curve(_Model):
    """One figure over all checkpoints of a series."""

    name: str
    """The probe's, or with `/` and a part of it behind."""
    probe: str
    better: Literal["higher", "lower"]
    unit: str
    """What intervals are over."""
    counts: str
    """What the n of its values counts."""
    chance: Chance | None
    """At the last checkpoint."""
    values: list[Value | Failure]
    """[checkpoint]"""
    summary: dict[str, Value | Failure]
    """`grown`, `t90` (in steps), `area`, `monotonicity`, `forgetting`."""


class Series(_Model):
    """One training."""

    name: str
    checkpoints: list[Moment]
    """By ascending step."""
    curves: list[Curve]
    losses: list[dict[str, float]] = Field(default_factory=list)
    """Where it was trained here, of each checkpoint `step`, `trained` and `held_out`: nats a token."""

    @property
    def steps(self) -> list[int]:
        """[checkpoint]"""
        return [checkpoint.step for checkpoint in self.checkpoints]

    def curve(self, name: str) -> Curve | None:
        """By its name."""
        return next((curve for curve in self.curves if curve.name == name), None)


class Before(_Model):
    """Of two probes which one was acquired before the other."""

    first: str
    then: str
    seeds: int
    """Trainings in which its t90 is smaller, or the other one did not grow."""
    apart: int
    """Of these, those in which both grew, and the intervals of their t90 are apart."""
    alone: int
    """Of these, those in which the other one is not seen to grow: when it would have grown is not known."""


class Grown(_Model):
    """Probes of all checkpoints of one training or several."""

    kind: Literal["growth"] = "growth"
    checkpoints: str
    """Where they are from."""
    probes: list[str]
    source: dict[str, str]
    """SHA-256 of each file by its name; of samples that are built in, too."""
    seed: int
    depth: float
    items: dict[str, dict[str, int]]
    """By probe how many by what was done with them."""
    series: list[Series]
    order: list[str]
    """Curves from the first acquired to the last; those that some training did not acquire come last."""
    tau: Value | Failure
    """Agreement of trainings on the order."""
    before: list[Before]
    """Of every two probes, by their main curves."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Where it was trained here: `corpus`, `corpus_identity` (SHA-256 of its files), `steps` and what the recipe says."""
    notes: list[str] = Field(default_factory=list)
    """What was done, where that is not always the same, and what to mind."""
