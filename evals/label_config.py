"""What a labelling run is asked to do, and which sites that means."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.errors import ExplicateError, SubjectError
from analyzers.site_kinds import KINDS
from analyzers.sites import Polarity, Site

Twin = Literal["random-direction", "random-init"]
DEFAULT_SAMPLE = 20
"""How many neurons are drawn when neither sites nor a number are given."""
LARGEST_SEED = 2**32 - 1
"""What every generator and every provider takes."""


class ExperimentConfig(BaseModel):
    """How far an explainer that experiments may go on one site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=24, ge=1)
    """Calls of the language model."""
    tool_calls: int = Field(default=60, ge=1)
    """Experiments."""
    rounds: int = Field(default=2, ge=1)
    """Of writing texts, measuring and revising, for a model that cannot call tools."""
    tokens: int | None = Field(default=None, ge=1)


class LabelConfig(BaseModel):
    """Everything that decides the result of a labelling run; two runs with equal configurations give equal results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    sites: tuple[str, ...] = ()
    layers: str = ""
    sample: int = Field(0, ge=0)
    polarity: Literal["dominant", "both", "+", "-"] = "dominant"
    explainer: str = "local:qwen2.5-coder-1.5b"
    style: Literal["marked-text", "token-activation"] = "marked-text"
    candidates: int = Field(2, ge=1)
    simulator: str = "local:qwen2.5-coder-0.5b"
    scorers: tuple[str, ...] = ("auto",)
    """Names of further scorers, which ask the simulator's language model; auto: those that judge most with it, where that is known."""
    items: int = Field(48, ge=16)
    """Excerpts that a scorer judges a site's explanation on; half of them fire."""
    neighbours: bool = True
    """Whether silent excerpts near in meaning to firing ones are among them, which takes a model of embeddings."""
    enough: float | None = Field(None, gt=0, lt=1)
    """Width of an interval at which a scorer stops asking; None: it asks about every item."""
    twins: tuple[Twin, ...] = ()
    """Controls that are labelled like the sites: a random direction of the same layer, the same site of a subject with random weights."""
    init: Literal["trained", "random"] = "trained"
    """random: the subject's weights are drawn anew, as a control."""
    kind: str = "mlp"
    """Of the sites that are drawn."""
    sae: tuple[str, ...] = ()
    """Folders of sparse autoencoders."""
    directions: str | None = None
    """A safetensors file of directions in the residual stream."""
    experiment: ExperimentConfig = ExperimentConfig()
    """Limits of an explainer that experiments."""
    corpus: str = "wikipedia-sample"
    tokens: int = Field(200_000, ge=1)
    excerpt_tokens: int = Field(32, ge=17, le=128)
    """More than the margins of 8 tokens on both sides of a block, where no peak is looked for."""
    base_url: str | None = None
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False

    @classmethod
    def checked(cls, **values: Any) -> "LabelConfig":
        """Build from what a user wrote; raises ExplicateError naming the first option that is wrong.

        `sites` is None where the neurons are to be drawn; naming none is a mistake.
        """
        sites = values.pop("sites", None)
        if sites is not None and not sites:
            raise ExplicateError("--sites names no neuron; write some, such as L7.mlp.1306,L9.mlp.851-, or leave it out to draw them")
        values |= {} if sites is None else {"sites": sites}
        try:
            config = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            option = "--" + str(first["loc"][0]).replace("_", "-")
            raise ExplicateError(f"{option} {first['input']!r}: {first['msg']}") from None
        if config.sites and (config.layers or config.sample):
            raise ExplicateError("--sites names the neurons, --layers and --sample draw them: give one or the other")
        if config.sites and config.polarity != "dominant":
            raise ExplicateError(
                f"--polarity {config.polarity!r} is for neurons that are drawn; with --sites leave it out: "
                "a name with a - at the end is the negative side, L7.mlp.1306-, and one without the positive"
            )
        for name in config.sites:
            Site.parse(name)
        if not KINDS.get(config.kind).signed and config.polarity not in ("dominant", "+"):
            raise ExplicateError(f"--polarity {config.polarity!r}: sites of kind {config.kind} have no negative side; leave it out")
        return config


class Limits(BaseModel):
    """How far a run may go and how fast; they do not change its results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0)
    price: str | None = None
    concurrency: int = Field(default=8, ge=1)
    timeout: float = Field(default=60.0, ge=1)
    """Seconds for one try of one call to a remote model."""
    batch: bool = False
    """Ask openai: models through the Batch API."""

    def unlimited(self) -> "Limits":
        """The same without limits of calls, tokens and money, for what runs within a budget that holds them."""
        return self.model_copy(update={"calls": None, "tokens": None, "usd": None})

    def check(self) -> None:
        """Raise ExplicateError for a limit of zero, which allows nothing."""
        for name, limit in (("--max-calls", self.calls), ("--max-tokens", self.tokens), ("--max-usd", self.usd)):
            if limit == 0:
                raise ExplicateError(f"{name} 0 allows nothing: give more than 0, or leave it out for no limit")


def parse_layers(text: str, count: int) -> list[int]:
    """Layers of `0-11` or `3,7,9-11`; all of them for an empty text; raises SubjectError outside 0..count-1."""
    if not text:
        return list(range(count))
    layers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None:
            raise SubjectError(f"--layers {text!r}: {part.strip()!r} is neither a layer nor a range; write 0-{count - 1} or 3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last >= count:
            raise SubjectError(f"--layers {text!r}: {part.strip()!r} is not within this model's layers 0-{count - 1}")
        layers.update(range(first, last + 1))
    return sorted(layers)


def choose_sides(config: LabelConfig, sites: Sequence[Site], dominant: Callable[[Site], Polarity]) -> list[Site]:
    """The sides of drawn sites that are wanted; those named are as named, and a kind without a negative side has its only one.

    dominant: the side that is louder on the explain split.
    """
    if config.sites or not KINDS.get(config.kind).signed:
        return list(sites)
    if config.polarity == "both":
        return [replace(site, polarity=side) for site in sites for side in ("+", "-")]
    return [replace(site, polarity=dominant(site) if config.polarity == "dominant" else config.polarity) for site in sites]
