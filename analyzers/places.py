"""Places in a block where a vector of the residual stream's width can be read and changed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from analyzers.hooks import on_input, on_output, removed

if TYPE_CHECKING:
    from analyzers.subject import Subject

Place = Literal["resid_pre", "resid_post", "mlp_out"]
"""The residual stream before or behind a block, or what the block's MLP writes to it."""


def _hooked(subject: "Subject", layer: int, place: Place, fn: Callable[[Tensor], Tensor | None]) -> list[RemovableHandle]:
    if place == "resid_pre":
        return on_input(subject.blocks[layer], subject.blocks[0], fn)
    return on_output(subject.projections[layer] if place == "mlp_out" else subject.blocks[layer], subject.blocks[0], fn)


def reading_at(subject: "Subject", layer: int, place: Place, fn: Callable[[Tensor], None]) -> list[RemovableHandle]:
    """From now on every forward pass calls fn([batch, pos, hidden]), in the model's dtype, until the handles are removed."""
    return _hooked(subject, layer, place, fn)


def patching_along(
    subject: "Subject",
    layer: int,
    place: Place,
    read: Callable[[Tensor], Tensor],
    direction: Tensor,
    change: Callable[[Tensor], Tensor],
) -> AbstractContextManager[None]:
    """Within the context (change(a) - a) * direction is added in every forward pass, where a = read(x), [batch, pos].

    x [batch, pos, hidden] float32; direction [hidden] float32.
    """

    def changed(x: Tensor) -> Tensor:
        x = x.float()
        activations = read(x)
        return x + (change(activations) - activations)[..., None] * direction

    return removed(_hooked(subject, layer, place, changed))


@torch.inference_mode()
def measured_gain(subject: "Subject", layer: int) -> float | None:
    """By what a vector is multiplied that is added to the output of a block's down-projection, on its way into the residual stream.

    None where that is no constant: some families put a norm there. It is measured on two tokens, with a random vector as long as the
    stream's mean one.
    """
    ids = torch.tensor([[0, 1]])
    plain, moved = (torch.empty(0),) * 2

    def read(stream: Tensor) -> None:
        nonlocal plain
        plain = stream[0].float()

    def read_moved(stream: Tensor) -> None:
        nonlocal moved
        moved = stream[0].float()

    with removed(reading_at(subject, layer, "resid_post", read)):
        subject.forward(ids)
    push = torch.randn(subject.hidden, generator=torch.Generator().manual_seed(0)).to(subject.device)
    push *= plain.norm(dim=-1).mean() / push.norm()
    adding = _hooked(subject, layer, "mlp_out", lambda written: written.float() + push)
    with removed([*adding, *reading_at(subject, layer, "resid_post", read_moved)]):
        subject.forward(ids)
    difference = moved - plain
    gain = float((difference @ push).mean() / push.square().sum())
    tolerance = 1e-3 if subject.dtype == torch.float32 else 0.05
    constant = (difference - gain * push).norm() <= tolerance * difference.norm()
    if not constant:
        return None
    return 1.0 if abs(gain - 1) <= tolerance else gain
