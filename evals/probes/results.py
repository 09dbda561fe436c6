"""What every probe's `--json` prints (docs/results.md): metrics of each layer beside what knows nothing, all with intervals."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value

Metrics = dict[str, Value | Failure]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Measured(BaseModel):
    """Metrics stand beside the other fields, each under its own name."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: Metrics = Field(init=False)

    @property
    def metrics(self) -> Metrics:
        """By name."""
        return dict(self.__pydantic_extra__)


class Layer(_Measured):
    """One layer's metrics. Layer 0 is what enters the first block, layer l what the l-th block gives, before any final normalisation."""

    layer: int

    @classmethod
    def of(cls, layer: int, metrics: Mapping[str, Value | Failure]) -> Self:
        """With these metrics."""
        return cls.model_validate({"layer": layer, **metrics})


class Baseline(_Measured):
    """The same metrics of what does not know what is probed for."""

    at: int | None = None
    """The layer it is of; None where it has none."""

    @classmethod
    def of(cls, metrics: Mapping[str, Value | Failure], at: int | None = None) -> Self:
        """With these metrics."""
        return cls.model_validate({"at": at, **metrics})


class Lift(Value):
    """The main metric at the best layer less that of a baseline, on the same items."""

    p: float
    """One-sided p-value of no difference."""


class Probed(_Model):
    """One probe of one model."""

    kind: str
    """labels, tree, place or truth."""
    model: dict[str, str]
    """What identifies it: name, source, revision, number format."""
    task: str
    source: dict[str, str]
    """SHA-256 of each file by its name; of a sample that is built in, too."""
    seed: int
    items: dict[str, int]
    """How many by what was done with them: train, test, left_out, ..."""
    unit: str
    """What intervals are over: sentences, entities, statements."""
    pool: str
    """Which of the tokens of a span its state is of: mean, first, last, start."""
    main: str
    """The metric that counts."""
    best: int
    """The layer that was best on held-out training items; the test items had no part in choosing it."""
    layers: list[Layer]
    baselines: dict[str, Baseline]
    """layer0, random_init, shuffled, majority, ... as they apply."""
    lifts: dict[str, Lift | Failure]
    """By baseline."""
    curves: dict[str, list[Layer]] = Field(default_factory=dict)
    """Other lines over layers: random_init, control, mlp, ..."""
    figures: Metrics = Field(default_factory=dict)
    """What is not of one layer."""
    notes: list[str] = Field(default_factory=list)
    """What was done, where that is not always the same, and what to mind."""
