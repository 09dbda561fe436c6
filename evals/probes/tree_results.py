"""What `explicate probe tree --json` prints beyond what every probe does."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.probes.results import Layer, Metrics, Probed

Why = Literal["best", "median", "worst", "drawn"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class AtRank(_Model):
    """The probes of another rank, at the chosen layer."""

    rank: int
    metrics: Metrics


class DrawnTree(_Model):
    """A test sentence with its tree and the predicted one; words have numbers from 0."""

    id: str
    why: Why
    """Why it is shown: the best, the middle or the worst of those that can be drawn, or drawn by seed."""
    words: list[str]
    punctuation: list[bool]
    """[word] Punctuation has neither true nor predicted edges."""
    gold: list[tuple[int, int]]
    """Edges of the tree, without direction, the smaller number first."""
    predicted: list[tuple[int, int]]
    root: int
    predicted_root: int


class TreeProbed(Probed):
    """The structural probe of one model."""

    kind: Literal["tree"] = "tree"
    rank: int
    """Rows of the maps."""
    held_out: list[Layer] = Field(default_factory=list)
    """UUAS on the sentences that were held out of the training ones, by which the layer was chosen and training was stopped."""
    ranks: list[AtRank] = Field(default_factory=list)
    """The rank itself among them, in order; none where no others were asked for."""
    trees: list[DrawnTree] = Field(default_factory=list)
