"""What `explicate edit --json` prints (docs/results.md)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Outcome(_Model):
    """What the model says of all that one edit's record asks, in one state."""

    text: str
    """How it goes on behind the edit's prompt, each token the likeliest."""
    success: float
    """Share of the new target's tokens that are the likeliest ones."""
    success_true: float | None
    """The same of the true target; None where that is not known."""
    prefers: bool | None
    """Whether the new target is likelier than the true one; None where that is not known."""
    logprob: float
    """Of the new target, mean over its tokens, in nats."""
    logprob_true: float | None
    rephrased: list[float]
    """[rephrase] as `success`."""
    rephrased_prefers: list[bool]
    ported: dict[str, list[float]]
    """By how it follows from the edit [prompt]: as `success`."""
    kept: list[float]
    """[prompt elsewhere] share of tokens that the model says as it did before the edit."""
    neighbours: list[bool]
    """[prompt of the same relation elsewhere] whether what is true there is likelier than the new target."""
    elsewhere: list[list[int]]
    """[prompt elsewhere][token] the likeliest ones."""
    written: str | None
    """Text that fluency is measured on."""
    seconds: float | None
    """That making the edit took; None where none was made."""


class EditTold(_Model):
    """One edit."""

    id: str
    prompt: str
    subject: str
    target: str
    """The new one"""
    true: str | None
    said_before: bool
    """Whether the model said the new target before."""
    knew: bool | None
    """Whether it said the true one; None where that is not known."""
    before: str
    """What it said."""
    after: str | None
    """What it says with all saved edits; None where none are saved."""
    outcomes: dict[str, Outcome]
    """By method, alone: each made in the model as it was. Only with --evaluate."""


class Step(_Model):
    """The model after some edits, one after the other."""

    edits: int
    success: Value | Failure
    """On the edits made so far; of none, on all to come."""
    locality: Value | Failure
    """On what all records ask elsewhere."""
    perplexity: Value | Failure
    """Of text that no covariance was read from."""


class Asking(_Model):
    """A prompt, and how the model goes on with and without edits."""

    prompt: str
    without: str
    edited: str


class EditsAsked(_Model):
    """What `explicate edit --load` prints."""

    kind: Literal["edits"] = "edits"
    paths: list[str]
    """Files of edits, in the order in which they were made."""
    model: dict[str, str]
    methods: list[str]
    """[file]"""
    edits: list[list[str]]
    """[edit] prompt, subject, target"""
    answers: list[Asking]
    exported: str | None
    """Folder of the model with the edits."""
    restored_exactly: bool


class Edited(_Model):
    """Edits of a model, and what they do."""

    kind: Literal["edit"] = "edit"
    model: dict[str, str]
    source: dict[str, str]
    """SHA-256 of each file by its name; of the corpus, too."""
    format: str
    methods: dict[str, dict[str, Value | Failure]]
    """By method and control, by measure. Only with --evaluate."""
    above: dict[str, dict[str, Value | Failure]]
    """By method edit_success less that of each control, on the same edits."""
    seconds: dict[str, float]
    """By method that one edit takes, a mean."""
    layer: int
    layer_by: str
    """How it was chosen."""
    layers: dict[str, list[int]]
    """By method those whose MLP is changed."""
    sequence: dict[str, list[Step]]
    """By method. Only with --sequential."""
    edits: list[EditTold]
    left_out: list[list[str]]
    """[edit] id and why it was not made"""
    saved: str | None
    """Method whose edits are saved."""
    restored_exactly: bool
    """Whether every parameter and buffer has the same bits after the run as before it."""
    corpus: dict[str, str]
    seed: int
    notes: list[str] = Field(default_factory=list)
