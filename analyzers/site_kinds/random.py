"""Random directions of the residual stream behind a block: the control of every kind that is a direction."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from analyzers.site_kinds import KINDS, SiteKind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from analyzers.sites import Site
    from analyzers.subject import Subject


@KINDS.add("random")
class Random(SiteKind):
    """A direction of length 1, uniform on the sphere, drawn from the seed (index, layer)."""

    parts = "random directions"

    def count(self, subject: "Subject", layer: int) -> None:  # noqa: ARG002
        """Every index is a seed."""
        return None

    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """The scalar product, in float32."""
        import torch

        from analyzers.places import reading_at

        rows = torch.stack([_drawn(subject, layer, index) for index in indices])
        return reading_at(subject, layer, "resid_post", lambda stream: fn(stream.float() @ rows.T))

    def direction(self, subject: "Subject", site: "Site") -> "Tensor":
        """The direction drawn."""
        return _drawn(subject, site.layer, site.index)

    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """What is missing along the direction is added behind the block."""
        from analyzers.places import patching_along

        direction = self.direction(subject, site)
        return patching_along(subject, site.layer, "resid_post", lambda stream: stream @ direction, direction, change)


def _drawn(subject: "Subject", layer: int, index: int) -> "Tensor":
    import torch

    # Of numpy, whose normal draws are the same on all devices.
    drawn = np.random.default_rng([index, layer]).standard_normal(subject.hidden)
    return torch.from_numpy(drawn / np.linalg.norm(drawn)).float().to(subject.device)
