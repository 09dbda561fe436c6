"""Attention heads: how much each writes to the residual stream."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from analyzers.errors import Failed
from analyzers.site_kinds import KINDS, SiteKind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from analyzers.sites import Site
    from analyzers.subject import Subject


@KINDS.add("attn")
class Attn(SiteKind):
    """The length of the vector that head i adds to the output of its attention, before a norm that some families put behind that.

    The vectors of all heads and the projection's bias add up to that output.
    """

    signed = False
    parts = "heads"

    def count(self, subject: "Subject", layer: int) -> int:
        """Query heads of the layer."""
        return subject.attentions[layer].heads

    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """Lengths, in float32."""
        import torch

        from analyzers.hooks import on_input

        attention = subject.attentions[layer]
        return on_input(
            attention.projection,
            subject.blocks[0],
            lambda heads: fn(torch.stack([attention.written(heads, head).norm(dim=-1) for head in indices], dim=-1)),
        )

    def direction(self, subject: "Subject", site: "Site") -> Failed:  # noqa: ARG002
        """A head writes another vector on every token."""
        return Failed("direction", f"the direction of what head {site.index} writes varies from token to token")

    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """The head's vector is stretched to the length; where it has none there is nothing to stretch."""
        from analyzers.hooks import on_input, removed

        attention = subject.attentions[site.layer]
        place = attention.slice(site.index)

        def stretch(heads: "Tensor") -> "Tensor":
            length = attention.written(heads, site.index).norm(dim=-1)
            factor = (change(length) / length).where(length > 0, 1)
            heads = heads.clone()
            heads[..., place] = (heads[..., place].float() * factor[..., None]).to(heads.dtype)
            return heads

        return removed(on_input(attention.projection, subject.blocks[0], stretch))
