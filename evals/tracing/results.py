"""What `explicate trace` prints."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import Failure, Value


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TracedFact(_Model):
    """One fact that the model knows, in its tokens."""

    id: str
    prompt: str
    subject: str
    target: str
    probability: float
    """p of the target's first token."""
    corrupted: float
    """The same with noise on the subject, mean over draws."""
    tokens: list[str]
    classes: list[str | None]
    """[token] one of `token_classes`; None before the subject."""
    effect: dict[str, list[list[float | None]]]
    """By kind [layer][token], mean over draws; None before the subject, where noise changes nothing."""


class NotKnown(_Model):
    """A fact behind whose prompt the model would say something else."""

    id: str
    prompt: str
    target: str
    says: str
    """The token it finds likeliest."""
    probability: float
    """Of the target's first token."""


class LeftOut(_Model):
    """A fact that cannot be traced."""

    id: str
    reason: str


class Lens(_Model):
    """What the model would say at the last token were each block its last one; each [layer], of the target's first token."""

    probability: list[Value | Failure]
    rank: list[Value | Failure]
    """Geometric mean; 1 is the likeliest."""
    top: list[Value | Failure]
    """Share of facts of which it is the likeliest."""
    other_probability: list[Value | Failure]
    """The control: of another fact's target."""
    other_rank: list[Value | Failure]


class Knockout(_Model):
    """How much less likely the answer is when the last token may not attend to some tokens in a window of layers; each [layer]."""

    subject: list[Value | Failure]
    elsewhere: list[Value | Failure]
    """The control: as many tokens that are not the subject."""


class Controls(_Model):
    """What no finding may fall short of."""

    random: dict[str, dict[str, list[Value | Failure]]]
    """By token class (last_subject, last) and kind [layer] effect of a change as large as the clean state makes, in a random direction."""
    elsewhere_total_effect: Value | Failure
    """Of noise on as many tokens that are not the subject."""
    elsewhere: dict[str, list[Value | Failure]]
    """By kind [layer] effect of restoring the last of those tokens under that noise."""


class Claim(_Model):
    """Something that is said of models, and whether it is seen in this one."""

    seen: bool
    """The peak's interval lies within the layers named, and the interval of every lift lies above 0."""
    peak: Value | Failure | None = None
    """Layer of the largest mean effect, its interval over facts; None for a claim that names no layer."""
    within: tuple[int, int] | None = None
    """First and last layer that the claim allows."""
    effect: Value | Failure
    """At the layer where it peaks over all other facts, so that no fact chooses its own."""
    lifts: dict[str, Value | Failure]
    """That effect less each other one, fact by fact."""


class Cost(_Model):
    """What the traces took, also those that were kept from earlier runs."""

    passes: int
    """Forward passes, whole or in part."""
    texts: int
    tokens: int
    seconds: float


class Traced(_Model):
    """Where one model stores the facts it knows, as causal tracing sees it."""

    kind: Literal["trace"] = "trace"
    model: dict[str, str]
    source: dict[str, str]
    """SHA-256 of the file."""
    seed: int
    layers: int
    kinds: list[str]
    window: int
    samples: int
    noise: float
    sigma: float
    """Standard deviation of the embeddings of subjects' tokens, over all facts of the file."""
    known: int
    """Facts that were traced."""
    tried: int
    """Facts the model was asked for."""
    there: int
    """Facts of the file, repeated ones once."""
    probability: Value | Failure
    corrupted: Value | Failure
    total_effect: Value | Failure
    token_classes: list[str]
    effect: dict[str, list[list[Value | Failure]]]
    """By kind [layer][token class], mean over facts of the indirect effect."""
    lens: Lens
    knockout: Knockout | Failure
    controls: Controls
    claims: dict[str, Claim]
    facts: list[TracedFact]
    not_known: list[NotKnown]
    left_out: list[LeftOut]
    cost: Cost
    notes: list[str] = Field(default_factory=list)
