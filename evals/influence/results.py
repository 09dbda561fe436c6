"""What `explicate influence fit` and `explicate influence query` print."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Fitted(_Model):
    """Factors in their folder."""

    kind: Literal["influence factors"] = "influence factors"
    folder: str
    model: dict[str, str]
    """What identifies it: name, source, revision, number format."""
    source: dict[str, str]
    """Of the text: train, identity; and how it was cut and drawn: length, limit, seed."""
    modules: str
    method: str
    serves: list[str]
    """Methods that can be queried with."""
    layers: list[str]
    passages: int
    tokens: int
    shards: int
    memory_bytes: int
    """Of the factors of the largest shard, besides the model and a batch."""
    disk_bytes: int


class TokenScore(_Model):
    """A token of a passage."""

    text: str
    score: float | None
    """Its part of the passage's score; None of the last token, which is only said, never read."""
    special: bool = False
    """Whether it is none of the passage's words, but stands before every text."""


class Control(_Model):
    """A completion that says something else, of like length, behind the same prompt."""

    completion: str
    how: Literal["another query's", "its tokens shuffled", "tokens drawn from the text"]


class RankedPassage(_Model):
    """One passage and its influence on a query."""

    rank: int
    document: str
    span: tuple[int, int]
    """Characters of the document."""
    text: str
    score: float
    by_layer: dict[str, float]
    """They sum to the score."""
    tokens: list[TokenScore]
    """They sum to the score, too."""
    ranks: dict[str, float | Failure]
    """Place among the same passages by each baseline, 1 the best; equal ones share the mean of their places."""
    control: float
    """Influence of the same passage on the control."""
    elsewhere: float
    """Mean influence of the same passage on pieces of other passages, in units of the root mean square over all passages."""
    unspecific: bool
    """Whether it moves the control or the pieces as much, each in units of the root mean square over all passages."""
    also_top: int
    """Other queries of the same command for which it is among the passages shown."""


class Concentration(_Model):
    """How influence is spread."""

    top_1: Value | Failure
    """Part of all positive influence that 1% of the passages hold; .01 were it spread evenly."""
    top_10: Value | Failure
    shares: list[float]
    held: list[Value | Failure]
    """[share]"""


class Queried(_Model):
    """One query: which passages move it most."""

    prompt: str
    completion: str
    logprob: float
    """Of the completion behind the prompt, in nats."""
    control: Control
    kept: float
    """Smallest share of its squared norm that the low rank keeps at any layer."""
    unit: float
    """Root mean square of the influence of all passages; 0 where nothing moves it."""
    control_unit: float
    """The same on the control."""
    passages: list[RankedPassage]
    concentration: Concentration
    agreement: dict[str, Value | Failure]
    """Spearman's correlation over passages with each baseline, and with influence on the control and elsewhere."""
    shared_top: dict[str, Value | Failure]
    """By control and elsewhere, the share of the passages shown that are among as many most influential ones for it."""
    shared_top_by_chance: float


class Influences(_Model):
    """Which training text moved some answers."""

    kind: Literal["influence"] = "influence"
    queries: list[Queried]
    layers: list[str]
    method: str
    rank: int
    kept: float
    """Smallest share of a query's squared norm that the low rank keeps at any layer, over all queries."""
    prefilter: int | None
    """Passages that were scored, the best by TF-IDF; None: all were."""
    candidates: int
    """Passages that were scored."""
    passages: int
    """Of the text."""
    model: dict[str, str]
    source: dict[str, str]
    """Of the text that was scored."""
    seed: int
    notes: list[str] = Field(default_factory=list)
