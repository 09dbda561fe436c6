"""Weights kept in bfloat16, computed with in float32: for CPUs that are slow at bfloat16, in half the memory of float32.

A block of a weight is widened just before it is multiplied, while it is in the processor's cache, which costs about as much time as
having kept it wide. A single token is bound by reading the weights: it is computed in bfloat16, up to three times faster, whether it
is being written or left over from a prompt by its chunks (analyzers.prefixes).
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 1024
"""Outputs whose weights are widened at once: few enough to stay in the cache."""


def widen(model: nn.Module) -> None:
    """Make a bfloat16 model compute in float32, its large weights staying as they are."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(lambda _module, _args, output: output.float())
        elif isinstance(module, nn.Linear):
            if module.bias is not None:
                module.bias.data = module.bias.data.float()
            changed: Any = module
            changed.forward = _forward(module)
        else:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.float()


def _forward(module: nn.Linear) -> Any:
    weight, bias = module.weight, module.bias
    return lambda hidden: product(hidden, weight, bias)


def product(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """hidden [..., pos, input] float32 times weight [output, input] bfloat16, plus bias [output] float32; float32.

    With a single position the factors and the result are rounded to bfloat16, whatever the number of texts.
    """
    if hidden.shape[-2] == 1:
        rounded = F.linear(hidden.bfloat16(), weight).float()
        return rounded if bias is None else rounded + bias
    return wide_product(hidden, weight, bias)


def wide_product(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same in float32 whatever the number format of hidden and weight and the number of positions, a block of outputs at a time."""
    hidden, bias = hidden.float(), None if bias is None else bias.float()
    out = hidden.new_empty(*hidden.shape[:-1], len(weight))
    for at in range(0, len(weight), BLOCK):
        part = slice(at, at + BLOCK)
        out[..., part] = F.linear(hidden, weight[part].float(), None if bias is None else bias[part])
    return out
