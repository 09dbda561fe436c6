"""What `explicate icl --json` prints: every figure with its interval over items."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Curve(_Model):
    """One figure at several places."""

    over: str
    """What the places are: layer, share kept, ..."""
    at: list[float]
    values: list[Value | Failure]
    """[place]"""


class Analysis(_Model):
    """What one analysis found."""

    figures: dict[str, Value | Failure] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    """What was done, where that is not always the same: which layers, how many of what."""
    p_values: dict[str, float] = Field(default_factory=dict)
    """Of figures whose interval does not say what chance alone would give, by their names."""
    failure: Failure | None = None
    """Why it has no figures, where the model or the task does not allow it."""


class TaskTold(_Model):
    """The task as it was asked."""

    name: str
    template: str
    labels: list[str]
    source: str
    """Of its items."""
    digest: str
    """SHA-256 of template, labels and items."""
    left_out: int = 0
    """Texts without a true label, or with several."""
    near_duplicates: int = 0
    """Further texts left out since they are nearly the same as an earlier one."""


class IclResults(_Model):
    """One model on one task; every n counts answers (items times draws of demonstrations), and intervals are over items, of these very
    draws of demonstrations: others may give other figures."""

    kind: Literal["icl"] = "icl"
    model: dict[str, str]
    """What identifies it: name, source, revision, number format."""
    task: TaskTold
    shots: int
    """Demonstrations of each class."""
    seeds: int
    """Draws of demonstrations."""
    seed: int
    items: int
    """Asked about, after each draw of demonstrations."""
    asked: dict[str, int] = Field(default_factory=dict)
    """Of these how many by their true label."""
    accuracy: Value | Failure
    """Share of answers whose likeliest label is the true one."""
    largest_class: float
    """Share of the commonest true label among the items: what knowing nothing else gets."""
    label_mass: Value | Failure
    """Probability that the model gives the first tokens of all labels together."""
    chosen: dict[str, float]
    """Share of answers by label."""
    analyses: dict[str, Analysis]
    """By name."""
    notes: list[str] = Field(default_factory=list)
    """Of what is shown and asked about, where there is too little of it, or some was left out."""
