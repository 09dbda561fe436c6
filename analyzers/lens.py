"""The logit lens of a direction: which next tokens it promotes and suppresses if nothing stands between it and the output.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; for neurons Geva et al. 2022 (arXiv 2203.14680). What the final norm
divides by depends on the text and is left out, so the values rank tokens and are in no unit.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from analyzers.errors import Failed
from analyzers.mixed import wide_product
from analyzers.mlps import decoder_blocks

if TYPE_CHECKING:
    from analyzers.subject import Subject

LOUD = 1e3
"""Size of the probes of a norm: what it adds to a variance is nothing beside them."""


@dataclass(frozen=True)
class Lens:
    """Tokens with what one unit of a site's activation adds to their logits at a final norm that divides by 1."""

    promoted: tuple[tuple[str, float], ...]
    """Most promoted first."""
    suppressed: tuple[tuple[str, float], ...]
    """Most suppressed first."""


@torch.inference_mode()
def lens(subject: "Subject", direction: Tensor, k: int) -> Lens | Failed:
    """The k tokens that a direction [hidden] of the residual stream promotes and suppresses most, through the final norm and the LM head.

    Failed where there is no such norm or the LM head is of another width than the residual stream. Only tokens that the tokenizer has
    are ranked.
    """
    head: Any = subject.model.get_output_embeddings()
    known = min(len(head.weight), len(subject.tokenizer))
    norm = final_norm(subject)
    if norm is None:
        return Failed("lens", f"{subject.name!r} has no norm with a gain after its last block")
    if head.weight.shape[-1] != subject.hidden:
        return Failed("lens", f"the LM head of {subject.name!r} is {head.weight.shape[-1]} wide, its residual stream {subject.hidden}")
    scaled = through_norm(norm, direction.to(subject.device, torch.float32))
    logits = wide_product(scaled[None], head.weight[:known], None)[0]
    if not logits.isfinite().all():
        return Failed("lens", "what the direction adds to the logits is not finite")
    k = min(k, known)
    ends = (logits.topk(k), logits.topk(k, largest=False))
    promoted, suppressed = (
        tuple((subject.token_text(token), value) for token, value in zip(end.indices.tolist(), end.values.tolist(), strict=True))
        for end in ends
    )
    return Lens(promoted, suppressed)


def final_norm(subject: "Subject") -> nn.Module | None:
    """The norm after the last block: the last module outside the blocks whose one weight, a bias aside, is as wide as the stream."""
    inside = {module for block in decoder_blocks(subject.base) for module in block.modules()}
    found = None
    for module in subject.base.modules():
        gains = [tuple(weight.shape) for name, weight in module.named_parameters(recurse=False) if name != "bias"]
        if module not in inside and gains == [(subject.hidden,)]:
            found = module
    return found


def through_norm(norm: nn.Module, direction: Tensor) -> Tensor:
    """[hidden] the direction centred, if the norm centres, and scaled by its gain; both read off what the norm does to probes."""
    width = len(direction)
    alternating = torch.ones(width, device=direction.device)
    alternating[1::2] = -1
    # In the model's own number format, a gain would be rounded as coarsely as a larger bias that is added to it.
    wide = copy.deepcopy(norm).float()

    def odd(probe: Tensor) -> Tensor:
        up, down = (wide(sign * LOUD * probe[None, None])[0, 0].float() for sign in (1, -1))
        half: Tensor = (up - down) / 2
        return half

    # Not by what becomes of a constant: a norm that centres blows up the rounding error that it leaves of one.
    centres = bool((odd(alternating + 1) - odd(alternating)).norm() < 0.1 * odd(alternating).norm())
    if centres:
        # Of an odd width, the probe is not centred by itself.
        probe = alternating - alternating.mean()
        gain = odd(probe) * probe.square().mean().sqrt() / probe
        return (direction - direction.mean()) * gain
    return direction * odd(alternating) / alternating
