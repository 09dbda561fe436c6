"""Neurons of the MLP: the inputs of the block's down-projection."""

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


@KINDS.add("mlp")
class Mlp(SiteKind):
    """Neuron i of a block."""

    parts = "neurons"

    def count(self, subject: "Subject", layer: int) -> int:
        """The inner width of the MLP."""
        return subject.neurons[layer]

    def reading(self, subject: "Subject", layer: int, indices: Sequence[int], fn: Callable[["Tensor"], None]) -> "list[RemovableHandle]":
        """As they enter the down-projection."""
        from analyzers.hooks import on_input

        columns = list(indices)
        return on_input(subject.projections[layer], subject.blocks[0], lambda neurons: fn(neurons[..., columns]))

    def direction(self, subject: "Subject", site: "Site") -> "Tensor | Failed":
        """The neuron's column of the down-projection; Failed in a model that normalises what its MLP writes."""
        from analyzers.mlps import written_by

        gain = subject.mlp_gain(site.layer)
        if gain is None:
            return Failed("direction", f"{subject.name} normalises what the MLP of layer {site.layer} writes")
        return gain * written_by(subject.projections[site.layer], slice(site.index, site.index + 1))[0]

    def patching(self, subject: "Subject", site: "Site", change: Callable[["Tensor"], "Tensor"]) -> AbstractContextManager[None]:
        """The neuron is exchanged before the down-projection."""
        from analyzers.hooks import on_input, removed

        def exchange(neurons: "Tensor") -> "Tensor":
            neurons = neurons.clone()
            neurons[..., site.index] = change(neurons[..., site.index].float()).to(neurons.dtype)
            return neurons

        return removed(on_input(subject.projections[site.layer], subject.blocks[0], exchange))
