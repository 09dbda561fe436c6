"""Kinds of places in a model whose activation can be read and changed; each file of this folder is one.

Its files import torch only where they compute, because a site's name is checked before anything heavy is loaded.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

from analyzers.errors import Failed
from analyzers.folder import Folder

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from analyzers.sites import Site
    from analyzers.subject import Subject

__all__ = ["KINDS", "SiteKind"]


class SiteKind(ABC):
    """How the sites of one kind are read, changed and counted; it keeps no state of its own."""

    signed: ClassVar[bool] = True
    """Whether activations can be negative, so that a site has two sides."""
    parts: ClassVar[str]
    """What the sites of a layer are called in messages: neurons, heads."""
    lack: ClassVar[str] = ""
    """What to do about a layer that has none."""

    @abstractmethod
    def count(self, subject: "Subject", layer: int) -> int | None:
        """How many sites a layer has; None where any index names one. SubjectError where the model cannot be read in this way."""

    @abstractmethod
    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """From now on every forward pass calls fn(raw activations [batch, pos, index]); removing the handles ends it.

        The activations are in the model's dtype, or in float32 where they are computed from what the model computes; fn must not
        change or keep them.
        """

    @abstractmethod
    def direction(self, subject: "Subject", site: "Site") -> "Tensor | Failed":
        """What one unit of raw activation adds to the residual stream: float32 [hidden]; Failed where that is not always the same."""

    @abstractmethod
    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """Within the context the raw activations a of the site, float32 [batch, pos], become change(a); the rest of the layer stays."""


KINDS: Folder[type[SiteKind]] = Folder("analyzers.site_kinds", "kind of site")
