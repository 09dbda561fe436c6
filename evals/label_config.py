"""What a labelling run is asked to do, and which sites that means."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.errors import ExplicateError, SubjectError
from analyzers.sites import Polarity, Site

DEFAULT_SAMPLE = 20
"""How many neurons are drawn when neither sites nor a number are given."""
LARGEST_SEED = 2**32 - 1
"""What every generator and every provider takes."""


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
        return config


class Limits(BaseModel):
    """How far a run may go and how fast; they do not change its results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0)
    price: str | None = None
    concurrency: int = Field(default=8, ge=1)

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


def choose_sites(config: LabelConfig, neurons: Sequence[int], dominant: Callable[[int, int], Polarity]) -> list[Site]:
    """The sites a run is about: those named, or a seeded uniform draw of neurons from the layers.

    neurons: [layer] how many neurons each layer has; dominant: the side of a neuron that is louder on the explain split.
    """
    if config.sites:
        return list(dict.fromkeys(Site.parse(name) for name in config.sites))
    pool = [(layer, index) for layer in parse_layers(config.layers, len(neurons)) for index in range(neurons[layer])]
    wanted = config.sample or DEFAULT_SAMPLE
    if wanted > len(pool):
        raise SubjectError(f"--sample {wanted} is more than the {len(pool)} neurons of these layers")
    drawn = np.random.default_rng(config.seed).choice(len(pool), size=wanted, replace=False)
    sites: list[Site] = []
    for layer, index in (pool[position] for position in sorted(drawn)):
        if config.polarity == "both":
            sites += [Site(layer, index, "+"), Site(layer, index, "-")]
        else:
            sites.append(Site(layer, index, dominant(layer, index) if config.polarity == "dominant" else config.polarity))
    return sites
