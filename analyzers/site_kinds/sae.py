"""Latents of a sparse autoencoder that is attached to a layer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from analyzers.site_kinds import KINDS, SiteKind

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from analyzers.sites import Site
    from analyzers.subject import Subject


@KINDS.add("sae")
class Sae(SiteKind):
    """Latent i of the layer's autoencoder, wherever in the layer that reads."""

    signed = False
    parts = "latents"
    lack = "attach a sparse autoencoder of this layer (--sae FOLDER)"

    def count(self, subject: "Subject", layer: int) -> int:
        """The width of the attached autoencoder."""
        return subject.saes[layer].width if layer in subject.saes else 0

    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """As the autoencoder encodes them, in float32."""
        from analyzers.places import reading_at

        sae, columns = subject.saes[layer], list(indices)
        return reading_at(subject, layer, sae.place, lambda x: fn(sae.encode(x.float(), columns)))

    def direction(self, subject: "Subject", site: "Site") -> "Tensor":
        """The latent's row of the decoder."""
        return subject.saes[site.layer].decoder[site.index]

    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """What the change adds to the reconstruction is added where the autoencoder reads: what it does not reconstruct stays."""
        from analyzers.places import patching_along

        sae = subject.saes[site.layer]

        def read(x: "Tensor") -> "Tensor":
            return sae.encode(x, [site.index])[..., 0]

        return patching_along(subject, site.layer, sae.place, read, self.direction(subject, site), change)
