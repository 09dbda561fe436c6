"""A subject that goes on with texts while a site is held higher or lower, as strongly as changes its output by a wanted divergence.

Sites differ in how large their activations are and how much they do, so a strength in raw units does not compare; the mean KL
divergence of the next-token distributions does (Gur-Arieh et al. 2025, arXiv 2501.08319).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from analyzers.divergences import kullback_leibler
from analyzers.errors import Failed
from analyzers.generating import Writer
from analyzers.outputs import Outputs
from analyzers.padding import padded
from analyzers.sites import Site
from analyzers.tokens import Tokens

if TYPE_CHECKING:
    from analyzers.subject import Subject

Sign = Literal[1, -1]

CLOSE = 0.01
"""Largest relative difference between the divergence that is reached and that which is wanted."""
LARGEST = 2.0**24
"""Strength, in raw units, beyond which a divergence is out of reach."""
SMALLEST = 2.0**-24
STEPS = 60


@dataclass(frozen=True)
class Steered:
    """Texts written under a steered site."""

    strength: float
    """Added to the activation of the site's side at every token, raw units; negative where the side is held down."""
    kl: float
    """Mean KL(steered || plain) over the tokens of the prompts, nats."""
    samples: tuple[tuple[str, ...], ...]
    """[sample][prompt] what follows the prompt."""

    @property
    def texts(self) -> tuple[str, ...]:
        """[prompt] the first sample."""
        return self.samples[0]


def strength_for(divergence: Callable[[float], float], wanted: float) -> tuple[float, float] | Failed:
    """(strength, divergence there) where a divergence, 0 at strength 0, is `wanted` > 0 up to CLOSE, by doubling or halving and bisection.

    Failed where it stays below even at LARGEST, is above even at SMALLEST, jumps over what is wanted, or is not finite on the way.
    """
    high, found = 1.0, divergence(1.0)
    if found < wanted:
        low = high
        while found < wanted:
            if high >= LARGEST:
                return Failed("steer", f"a divergence of {wanted:g} is out of reach: {found:g} at a strength of {high:g}")
            low, high = high, 2 * high
            found = divergence(high)
            if not math.isfinite(found):
                return Failed("steer", f"a divergence of {wanted:g} is out of reach: not finite at a strength of {high:g}")
    elif not math.isfinite(found):
        return Failed("steer", "the divergence at a strength of 1 is not finite")
    else:
        low = high
        while found >= wanted:
            if low <= SMALLEST:
                return Failed("steer", f"a divergence of {wanted:g} is out of reach: {found:g} at a strength of only {low:g}")
            high, low = low, low / 2
            found = divergence(low)
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = divergence(middle)
        if abs(found - wanted) <= CLOSE * wanted:
            return middle, found
        low, high = (middle, high) if found < wanted else (low, middle)
    return Failed("steer", f"the divergence jumps over {wanted:g} at a strength of {high:g}")


def steer(
    subject: "Subject",
    outputs: Outputs,
    site: Site,
    prompts: Sequence[Sequence[int]],
    *,
    sign: Sign,
    kl: float,
    tokens: int,
    temperature: float,
    seeds: Sequence[int],
) -> Steered | Failed:
    """Continue prompts, token ids that begin with the subject's prefix, with the site's side held up (sign 1) or down (sign -1).

    The strength is such that KL(steered || plain) of the next token is `kl` nats, meant over the tokens of all prompts, the prefix left
    out; kl 0: as it is. Each sample draws its tokens from streams that `seeds` names, one a sample.
    """
    ids, mask = padded(prompts)
    mask[:, : len(subject.prefix)] = 0
    told = mask.bool().to(subject.device)
    mask[:, : len(subject.prefix)] = 1
    plain = outputs.hidden(ids, mask)[told]

    def divergence(strength: float) -> float:
        with subject.patching(site, _adding(subject, sign * site.sign * strength)):
            steered = outputs.hidden(ids, mask)[told]
        total = sum(float(kullback_leibler(one, other).sum()) for one, other in outputs.chunks(steered, plain))
        return total / len(plain)

    matched = strength_for(divergence, kl) if kl else (0.0, 0.0)
    if isinstance(matched, Failed):
        return matched
    strength, reached = matched
    change = _adding(subject, sign * site.sign * strength)
    by_prompt = [
        _continued(subject, outputs, site, change, prompt, number, tokens, temperature, seeds) for number, prompt in enumerate(prompts)
    ]
    return Steered(sign * strength, reached, tuple(zip(*by_prompt, strict=True)))


def _adding(subject: "Subject", amount: float) -> Callable[[Tensor], Tensor]:
    """Raw activations [batch, pos] plus an amount everywhere but at the subject's prefix, which opens whatever is not a single token."""
    first = len(subject.prefix)

    def change(raw: Tensor) -> Tensor:
        added = raw.float() + amount
        if raw.shape[1] > 1:
            added[:, :first] = raw[:, :first]
        return added.to(raw.dtype)

    return change


def _continued(
    subject: "Subject",
    outputs: Outputs,
    site: Site,
    change: Callable[[Tensor], Tensor],
    prompt: Sequence[int],
    number: int,
    tokens: int,
    temperature: float,
    seeds: Sequence[int],
) -> list[str]:
    """[seed] what the subject writes after a prompt with its site changed."""
    ends = {subject.tokenizer.eos_token_id}
    # Streams of neighbouring seeds and prompts must not meet.
    streams = [torch.Generator().manual_seed(seed * 1_000_003 + number) if temperature > 0 else None for seed in seeds]
    reader = Tokens(subject.tokenizer)
    writers = [Writer(reader, ends, stream, temperature=temperature, stop=(), top=0) for stream in streams]
    ids, cache = torch.tensor([list(prompt)] * len(seeds)), None
    for _ in range(tokens):
        with subject.patching(site, change):
            hidden, cache = outputs.step(ids, cache)
        for writer, row in zip(writers, outputs.logprobs(hidden), strict=True):
            if not writer.done:
                writer.take(row)
        if all(writer.done for writer in writers):
            break
        ids = torch.tensor([[writer.ids[-1]] for writer in writers])
    return [writer.text for writer in writers]
