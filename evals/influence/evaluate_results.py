"""What `explicate influence evaluate` prints: how well influence finds what is known to have moved an answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Measure(_Model):
    """One thing that is known, and how well each method finds it."""

    figures: dict[str, Value | Failure]
    """By method."""
    lifts: dict[str, Value | Failure]
    """On the same draws the first method less each other one."""
    over: str
    """What intervals are over: queries, queries and trainings, lines, or pairs."""
    chance: float | None = None
    """What knowing nothing gets, where that is known."""


class Evaluated(_Model):
    """Influence on small models that were trained here."""

    kind: Literal["influence evaluation"] = "influence evaluation"
    measures: dict[str, Measure]
    """recall_at_1, recall_at_5, recall_at_10, lds, mislabelled, removal, order_flip, prefilter_recall"""
    known: Value | Failure
    """Share of planted facts of which the model gives the right completion most probability, asked in other words."""
    known_by_chance: float
    steps: int
    """Of the training on all passages."""
    passages: int
    background: int
    """Passages of the corpus among them."""
    queries: int
    halves: int
    """Trainings on a random half."""
    removed: int
    """Queries whose most influential passages were removed."""
    k: int
    """Passages that were removed together."""
    trainings: int
    seed: int
    source: dict[str, str]
    """Of the background text."""
    notes: list[str] = Field(default_factory=list)
