"""What each head's attention looks like over the queries of one text: how spread, how far, and how much of it in a few places.

All take weights [layer, head, query, key] and return [layer, head] float64 on the CPU.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from analyzers.errors import SubjectError


@dataclass(frozen=True, eq=False)
class Statistics:
    """[layer, head] float64 each; means over the queries of one text."""

    entropy: Tensor
    """Nats."""
    distance: Tensor
    """Positions between query and key, weighted by attention."""
    first: Tensor
    """Share of attention on the first token."""
    self: Tensor
    """Share on the query itself."""
    previous: Tensor
    """Share on the token before the query, over the queries that have one."""


def head_statistics(weights: Tensor) -> Statistics:
    """Raises SubjectError for a text of one token."""
    return Statistics(entropy(weights), distance(weights), on_first(weights), share(weights, 0), share(weights, 1))


def entropy(weights: Tensor) -> Tensor:
    """Mean over queries of -sum p log p, in nats; 0 log 0 is 0."""
    found: Tensor = torch.special.entr(weights.cpu().double()).sum(-1).mean(-1)
    return found


def distance(weights: Tensor) -> Tensor:
    """Mean over queries of sum p |query - key|: 0 for a head that attends to the query itself, 1 to a neighbour."""
    queries, keys = (torch.arange(size, dtype=torch.float64) for size in weights.shape[-2:])
    return (weights.cpu().double() * (queries[:, None] - keys).abs()).sum(-1).mean(-1)


def on_first(weights: Tensor) -> Tensor:
    """Mean over queries of the share of attention on the first token; that of the first token itself is 1 in a causal model."""
    return weights[..., 0].cpu().double().mean(-1)


def share(weights: Tensor, offset: int) -> Tensor:
    """Mean share of attention on the token `offset` before the query (0 the query itself, negative after it).

    Over the queries that have such a token. Raises SubjectError where none has.
    """
    tokens = weights.shape[-1]
    if abs(offset) >= tokens:
        raise SubjectError(
            f"no token of the text has one {abs(offset)} {'before' if offset > 0 else 'after'} it: it has {tokens}, "
            f"give a text of at least {abs(offset) + 1} tokens"
        )
    return weights.cpu().double().diagonal(-offset, -2, -1).mean(-1)
