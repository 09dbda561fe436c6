"""What `explicate influence pairs` prints: whether the text that is expected to moves a query more than the other text of its pair."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.influence.evaluate_results import Measure
from evals.results import Failure


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Both(_Model):
    """What a method gives both texts of a pair for its query."""

    one: float
    other: float


class ScoredPair(_Model):
    """A query and two texts, of which `one` is expected to move it more."""

    prompt: str
    completion: str
    logprob: float
    """Of the completion behind the prompt, in nats."""
    one: str
    other: str
    """Both as far as they were read."""
    scores: dict[str, Both | Failure]
    """By method."""
    other_queries: float
    """Share of the other queries that the one moves more than the other, which says nothing of this query."""


class Pairs(_Model):
    """Influence of two texts each on some queries."""

    kind: Literal["influence pairs"] = "influence pairs"
    measures: dict[str, Measure]
    """preferred, apart"""
    pairs: list[ScoredPair]
    in_file: int
    """Pairs in the file."""
    cut: int
    """Texts longer than what the factors were fitted to, of which only the beginning was read."""
    length: int
    """Tokens of a text at most."""
    layers: list[str]
    method: str
    rank: int
    kept: float
    """Smallest share of a query's squared norm that the low rank keeps at any layer, over all queries."""
    model: dict[str, str]
    source: dict[str, str]
    """Of the pairs: the file's SHA-256 by its name; and the text that the curvature is of: curvature."""
    seed: int
    notes: list[str] = Field(default_factory=list)
