"""What `explicate probe place --json` prints."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.probes.results import Baseline, Lift, Metrics, Probed
from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class PlacePoint(_Model):
    """One entity of the test."""

    name: str
    true: list[float]
    """[target] latitude and longitude in degrees, or one number."""
    predicted: list[float]
    """[target] at the best layer."""
    error: float
    """Kilometres, or the number's own unit."""
    group: str | None = None
    """What the column that --hold-out names says of it."""


class PlaceNeuron(_Model):
    """A single neuron whose weights point along the probe's direction."""

    site: str
    """`L7.mlp.1306`, blocks counted from 0."""
    side: Literal["in", "out"]
    """Whether it reads or writes along it."""
    weights: str
    """The module that the weights are of."""
    cosine: float
    by_chance: float
    """The largest cosine in size of any neuron with the direction of a probe of shuffled targets with the same penalty."""
    spearman: Value | Failure
    """Of what it shows at the last token of an entity and the target, over the entities of the test."""


class HeldOut(_Model):
    """The same at the same layer, but every entity is predicted by a probe that was trained on no entity of its group."""

    column: str
    groups: int
    folds: int
    unit: str
    """What intervals are over: the groups, or entities where the groups are too few."""
    items: dict[str, int]
    metrics: Metrics
    baselines: dict[str, Baseline]
    lifts: dict[str, Lift | Failure]


class PlaceProbed(Probed):
    """A probe for places or dates."""

    kind: str = "place"
    target: list[str]
    """The columns: latitude and longitude, or one of numbers or dates."""
    template: str
    """The text around an entity's name."""
    alphas: dict[str, float]
    """The penalty that was chosen, by layer."""
    points: list[PlacePoint]
    neurons: dict[str, list[PlaceNeuron] | Failure] = Field(default_factory=dict)
    """By target, most aligned first."""
    held_out: HeldOut | None = None
