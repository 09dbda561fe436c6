"""What `explicate probe view --json` prints: where every point lies in each view, and what the view keeps of who is near whom."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.probes.results import Metrics
from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Point(_Model):
    """A word or a text."""

    text: str
    context: str = ""
    """What stands around a word."""
    label: str | None = None
    numbers: list[float] | None = None
    """Of its columns, where it is labelled by numbers: two, latitude first, or one."""


class Plane(_Model):
    """One view of the points; with a failure it has none."""

    x: list[float] = Field(default_factory=list)
    """[point]"""
    y: list[float] = Field(default_factory=list)
    figures: Metrics = Field(default_factory=dict)
    """trustworthiness, neighbours_kept, neighbours_kept_over_random (paired) and, with labels, same_label."""
    failure: Failure | None = None


class ViewedLayer(_Model):
    """One layer's states, standardised."""

    layer: int
    explained: list[float]
    """Shares of the variance that the two axes of the view `pca` show; empty where it has none."""
    planes: dict[str, Plane]
    """pca; probe, where there are labels or numbers: the two directions that tell them best in other points (x the longitude, y the
    latitude that it says); neighbours: t-SNE."""
    controls: dict[str, Metrics]
    """The same figures of a random plane and, with labels, of the probe's plane fitted to shuffled labels."""
    same_label: Value | Failure | None = None
    """With labels: share of the nearest points in the states themselves that have the same one."""


class Viewed(_Model):
    """States of one model in the plane, at some layers."""

    kind: Literal["view"] = "view"
    model: dict[str, str]
    task: str
    """What points are labelled by."""
    labelled: Literal["labels", "numbers", "nothing"]
    columns: list[str] = Field(default_factory=list)
    """Of the numbers."""
    source: dict[str, str]
    """SHA-256 of each file by its name."""
    seed: int
    items: dict[str, int]
    """shown; fitted: others, to which the probe's directions were fitted; left_out: without a label, repeated or not
    readable."""
    unit: str
    """What intervals are over."""
    pool: str
    neighbours: int
    """How many nearest points are looked at."""
    chance: float | None = None
    """With labels: share of the nearest points that would have the same one if it knew nothing of where points lie."""
    points: list[Point]
    layers: list[ViewedLayer]
    notes: list[str] = Field(default_factory=list)
