"""Where a model's MLPs are, found by the shape of its modules, so that no list of families needs upkeep.

The decoder blocks are the longest outermost list of modules of one class. Of a block's linear layers, those inside a
module whose forward takes an attention mask belong to attention; among the others the down-projection is the one that leads
back to the hidden size from the widest inner layer, the last one where several are equally wide.
"""

import inspect

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from analyzers.errors import SubjectError


def decoder_blocks(base: nn.Module) -> list[nn.Module]:
    """The decoder blocks of a base model, in order; SubjectError where it has none that are alike."""
    lists: list[list[nn.Module]] = []

    def visit(module: nn.Module) -> None:
        for child in module.children():
            if not isinstance(child, nn.ModuleList):
                visit(child)
            elif len({type(block) for block in child}) == 1:
                lists.append(list(child))

    visit(base)
    if not lists:
        raise SubjectError(f"{type(base).__name__!r} has no list of decoder blocks of one class; a decoder-only transformer is needed")
    return max(lists, key=len)


def down_projections(base: nn.Module, hidden: int) -> list[nn.Module]:
    """The layer of every decoder block whose input is the MLP's neurons and whose output is added to the residual stream.

    hidden: width of the residual stream. Raises SubjectError for a mixture of experts (its neurons are not the same for all
    tokens) and for a block without such a layer.
    """
    found = []
    for number, block in enumerate(decoder_blocks(base)):
        outside = outside_attention(block)
        where = f"block {number} of {type(base).__name__!r}"
        if any(_is_expert_store(module) for module in outside):
            raise SubjectError(f"{where} is a mixture of experts, whose neurons cannot be read yet; choose a dense model")
        shapes = [(module, *shape) for module in outside if (shape := linear_shape(module)) is not None]
        # An inner width is one that an earlier layer leads to from the hidden size, alone or fused with a gate of the same width.
        widths = {width for _, inputs, outputs in shapes if inputs == hidden for width in (outputs, outputs // 2)}
        downs = [(module, inputs) for module, inputs, outputs in shapes if outputs == hidden and inputs in widths]
        if not downs:
            raise SubjectError(
                f"{where} has no readable MLP: no linear layer outside attention leads from inner neurons to {hidden} outputs"
            )
        widest = max(width for _, width in downs)
        found.append([module for module, width in downs if width == widest][-1])
    return found


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear layer, None for any other module."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        inputs, outputs = module.weight.shape
        return inputs, outputs
    return None


def outside_attention(module: nn.Module) -> list[nn.Module]:
    """All modules below this one that are not within attention, in order of registration."""
    found = []
    for child in module.children():
        if "attention_mask" not in inspect.signature(child.forward).parameters:
            found += [child, *outside_attention(child)]
    return found


def _is_expert_store(module: nn.Module) -> bool:
    """Experts are kept as a list of equal modules or as weights stacked along a first axis; a convolution's weight is neither."""
    if isinstance(module, nn.ModuleList):
        return len(module) > 1 and len({type(child) for child in module}) == 1
    convolution = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return not convolution and any(weight.ndim == 3 for weight in module.parameters(recurse=False))


def written_by(module: nn.Module, inputs: slice) -> Tensor:
    """What a unit of each of some inputs of a linear layer adds to its output: float32 [input, output]."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    return (weight[inputs] if isinstance(module, Conv1D) else weight[:, inputs].T).float()
