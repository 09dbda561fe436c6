"""Attention rollout: how much of each input token a position holds after each layer, if attention only averaged.

Source: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928). It knows of no values, MLPs and norms.
"""

import torch
from torch import Tensor

ROUNDING = 0.02
"""How far the sum of a row may be from 1: what the softmax of a bfloat16 model leaves."""


def rollout(weights: Tensor) -> Tensor:
    """Products A'_l ... A'_1 of the attention of the layers up to each, with the residual stream.

    weights [layer, head, query, key]; returns [layer, query, key] float64 on the CPU, where key is a token of the input and each row
    sums to 1. In a causal model the product over many layers goes to the first token whatever the attention, since only that one's row
    never leads elsewhere. Raises ValueError for rows of weights that do not.
    """
    mixed = with_residual(weights)
    products = [mixed[0]]
    for layer in mixed[1:]:
        products.append(layer @ products[-1])
    return torch.stack(products)


def with_residual(weights: Tensor) -> Tensor:
    """A' = (mean of A over heads) / 2 + I / 2: what a block passes on if its attention and the residual stream weigh the same.

    weights [layer, head, query, key]; returns [layer, query, key] float64 on the CPU, each row divided by its sum. Raises ValueError for
    rows of weights that do not sum to 1, up to the rounding of 16-bit numbers.
    """
    mean = weights.cpu().double().mean(1)
    sums = mean.sum(-1, keepdim=True)
    # Written so that NaN is refused, too.
    if not ((sums - 1).abs() <= ROUNDING).all():
        raise ValueError(f"rows of attention sum to {sums.min():.3g} to {sums.max():.3g}, not to 1: it was changed or is not attention")
    return mean / sums / 2 + torch.eye(mean.shape[-1], dtype=mean.dtype) / 2
