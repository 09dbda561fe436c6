"""Coordinates of the residual stream behind a block."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from analyzers.site_kinds import KINDS, SiteKind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from analyzers.sites import Site
    from analyzers.subject import Subject


@KINDS.add("resid")
class Resid(SiteKind):
    """Coordinate i of what a block returns."""

    parts = "coordinates"

    def count(self, subject: "Subject", layer: int) -> int:  # noqa: ARG002 - the same in all layers
        """The width of the residual stream."""
        return subject.hidden

    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """As the block returns them."""
        from analyzers.places import reading_at

        columns = list(indices)
        return reading_at(subject, layer, "resid_post", lambda stream: fn(stream[..., columns]))

    def direction(self, subject: "Subject", site: "Site") -> "Tensor":
        """The coordinate's unit vector."""
        import torch

        found = torch.zeros(subject.hidden, device=subject.device)
        found[site.index] = 1
        return found

    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """The coordinate is exchanged behind the block."""
        from analyzers.places import patching_along

        direction = self.direction(subject, site)
        return patching_along(subject, site.layer, "resid_post", lambda stream: stream[..., site.index], direction, change)
