"""Divergences against scipy in float64, also of distributions that are almost equal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax
from scipy.stats import entropy

from analyzers.divergences import jensen_shannon, kullback_leibler

SIZES = st.sampled_from([0.0, 1e-4, 1e-2, 0.04, 0.06, 1.0, 30.0])


def pair(seed: int, width: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Float32 log-probabilities [2, width] and others whose logits are about `size` away."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(2, width))
    moved = logits + size * rng.normal(size=(2, width))
    one, other = (torch.from_numpy(log_softmax(each, axis=1)).float() for each in (logits, moved))
    return one, other


@given(seed=st.integers(0, 1000), width=st.integers(2, 300), size=SIZES)
def test_they_are_those_of_scipy(seed: int, width: int, size: float) -> None:
    one, other = pair(seed, width, size)
    p, q = (np.exp(each.numpy().astype(np.float64)) for each in (one, other))
    kl = np.array([entropy(a, b) for a, b in zip(p, q, strict=True)])
    js = np.array([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])
    assert kullback_leibler(one, other).numpy() == pytest.approx(kl, rel=2e-3, abs=1e-10)
    assert jensen_shannon(one, other).numpy() == pytest.approx(js, rel=2e-3, abs=1e-10)
    assert jensen_shannon(one, other).numpy() == pytest.approx(jensen_shannon(other, one).numpy(), rel=1e-4, abs=1e-12)


def test_equal_distributions_do_not_diverge_and_disjoint_ones_by_log_2() -> None:
    one, _ = pair(0, 1000, 1.0)
    assert jensen_shannon(one, one).abs().max() == 0
    assert kullback_leibler(one, one).abs().max() == 0
    left = torch.log_softmax(torch.tensor([[200.0, -200.0]]), -1)
    assert float(jensen_shannon(left, left.flip(-1))) == pytest.approx(np.log(2), rel=1e-5)


def test_what_rounding_would_drown_is_still_there() -> None:
    one = torch.log_softmax(torch.randn(1, 50_000, generator=torch.Generator().manual_seed(0)), -1)
    logits = one.double()
    logits[0, 7] += 1e-2
    other = torch.log_softmax(logits, -1)
    p, q = one.double().exp(), other.exp()
    exact = float((p * (one.double() - other)).sum() + (q.sum() - p.sum()))
    assert 0 < exact < 1e-8
    assert float(kullback_leibler(one, other.float())) == pytest.approx(exact, rel=0.05)
