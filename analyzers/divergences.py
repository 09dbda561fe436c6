"""How far apart two next-token distributions are, exact also where they differ by little.

The textbook sums p log(p / q) have terms of both signs, which cancel: in float32 what one neuron does would drown in rounding. Here 0 is
added in the form of q - p, summed over the vocabulary, so that every term is a gap x - log(1 + x) >= 0, and small gaps come from a series.
"""

import torch
from torch import Tensor

SERIES = 0.05
"""Where logarithms differ by less, the terms of a series are exacter than differences in float32."""


def kullback_leibler(of: Tensor, against: Tensor) -> Tensor:
    """[...] KL(of || against) in nats; both [..., vocabulary] float32 natural log-probabilities."""
    step = against - of
    p = of.exp()
    exact = against.exp() - p - p * step
    return torch.where(step.abs() < SERIES, p * _gap(torch.expm1(step)), exact).sum(-1)


def jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    """[...] Jensen-Shannon divergence in nats, 0 to log 2; both [..., vocabulary] float32 natural log-probabilities."""
    middle = torch.logaddexp(one, other) - torch.log(torch.tensor(2.0, device=one.device))
    far = (other - one).abs() >= SERIES
    halves = []
    for p, step in ((one, other - one), (other, one - other)):
        share = p.exp()
        exact = middle.exp() - share - share * (middle - p)
        halves.append(torch.where(far, exact, share * _gap(torch.expm1(step) / 2)).sum(-1))
    return (halves[0] + halves[1]) / 2


def _gap(x: Tensor) -> Tensor:
    """x - log(1 + x) for small x."""
    return x * x * (1 / 2 - x * (1 / 3 - x * (1 / 4 - x / 5)))
