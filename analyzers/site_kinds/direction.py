"""Directions of the residual stream behind a block, from an attached file of directions."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from analyzers.site_kinds import KINDS, SiteKind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from analyzers.sites import Site
    from analyzers.subject import Subject


@KINDS.add("direction")
class Direction(SiteKind):
    """Row i of the layer's directions: how far the stream reaches along it, which is of length 1."""

    parts = "directions"
    lack = "attach a file of directions that has some for this layer"

    def count(self, subject: "Subject", layer: int) -> int:
        """Rows of the attached directions."""
        return len(subject.directions.get(layer, ()))

    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """The scalar product, in float32."""
        from analyzers.places import reading_at

        rows = subject.directions[layer][list(indices)]
        return reading_at(subject, layer, "resid_post", lambda stream: fn(stream.float() @ rows.T))

    def direction(self, subject: "Subject", site: "Site") -> "Tensor":
        """The row."""
        return subject.directions[site.layer][site.index]

    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """What is missing along the direction is added behind the block."""
        from analyzers.places import patching_along

        direction = self.direction(subject, site)
        return patching_along(subject, site.layer, "resid_post", lambda stream: stream @ direction, direction, change)
