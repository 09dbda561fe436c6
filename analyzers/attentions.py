"""Where a model's attention heads are, found by running it, so that no list of families needs upkeep.

The last linear layer that runs within an attention module is its output projection, and its input is what the heads found, side by side.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from analyzers.errors import SubjectError
from analyzers.hooks import removed
from analyzers.mlps import linear_shape, written_by


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention of one decoder block."""

    projection: nn.Module
    """Linear layer from [batch, pos, head * width] to [batch, pos, hidden]."""
    heads: int
    width: int
    """Dimensions of one head."""

    def slice(self, head: int) -> slice:
        """Where a head is among the projection's inputs."""
        return slice(head * self.width, (head + 1) * self.width)

    def written(self, heads: Tensor, head: int) -> Tensor:
        """What a head adds to the output of the attention, float32 [batch, pos, hidden], of the projection's input."""
        return heads[..., self.slice(head)].float() @ written_by(self.projection, self.slice(head))


def attentions(blocks: Sequence[nn.Module], heads: int | None, hidden: int, run: Callable[[], None], name: str) -> tuple[Attention, ...]:
    """[layer] the attention of every block; SubjectError where one has none that can be read.

    heads: query heads, as the configuration has them; hidden: width of the residual stream; run: makes one forward pass; name: of the
    model, for the message.
    """
    ran: dict[int, nn.Module] = {}

    def note(layer: int, module: nn.Module) -> Callable[..., None]:
        def hook(*_args: object) -> None:
            ran[layer] = module

        return hook

    inside = [(layer, module) for layer, block in enumerate(blocks) for module in _within_attention(block)]
    with removed([module.register_forward_hook(note(layer, module)) for layer, module in inside if linear_shape(module) is not None]):
        run()
    found = []
    for layer in range(len(blocks)):
        inputs, outputs = (linear_shape(ran[layer]) if layer in ran else None) or (0, 0)
        if not isinstance(heads, int) or inputs == 0 or outputs != hidden or inputs % heads:
            raise SubjectError(
                f"{name!r} has no readable attention heads: no linear layer leads from the heads of block {layer} to {hidden} outputs; "
                "choose sites of another kind"
            )
        found.append(Attention(ran[layer], heads, inputs // heads))
    return tuple(found)


def _within_attention(module: nn.Module, within: bool = False) -> list[nn.Module]:
    """All modules below this one that are within a module whose forward takes an attention mask."""
    found = []
    for child in module.children():
        inside = within or "attention_mask" in inspect.signature(child.forward).parameters
        found += [child] * within + _within_attention(child, inside)
    return found
