"""Rollout against a loop over paths, its closed forms, and what must hold of it whatever the attention."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from analyzers.attention.rollout import rollout, with_residual


def random_attention(seed: int, layers: int, heads: int, tokens: int, *, causal: bool, sharpness: float = 2.0) -> Tensor:
    """[layer, head, query, key] float32"""
    scores = sharpness * torch.randn(layers, heads, tokens, tokens, generator=torch.Generator().manual_seed(seed))
    if causal:
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def over_paths(weights: Tensor, layers: int, query: int, key: int) -> float:
    """Sum over all paths from the query down to the key of the product of what is passed on at each step."""
    heads, tokens = weights.shape[1], weights.shape[2]
    total = 0.0
    for between in product(range(tokens), repeat=layers - 1):
        path = (key, *between, query)
        share = 1.0
        for layer in range(layers):
            below, above = path[layer], path[layer + 1]
            attention = sum(float(weights[layer, head, above, below]) for head in range(heads)) / heads
            share *= 0.5 * attention + (0.5 if above == below else 0.0)
        total += share
    return total


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), layers=st.integers(1, 4), heads=st.integers(1, 3), tokens=st.integers(1, 4), causal=st.booleans())
def test_it_is_the_sum_over_all_paths(seed: int, layers: int, heads: int, tokens: int, causal: bool) -> None:
    weights = random_attention(seed, layers, heads, tokens, causal=causal)
    found = rollout(weights)
    assert found.shape == (layers, tokens, tokens)
    for upto, query, key in product(range(1, layers + 1), range(tokens), range(tokens)):
        assert float(found[upto - 1, query, key]) == pytest.approx(over_paths(weights, upto, query, key), abs=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), layers=st.integers(1, 40), tokens=st.integers(1, 30), sharpness=st.floats(0, 30), causal=st.booleans())
def test_rows_stay_stochastic_and_causal_ones_lower_triangular(seed: int, layers: int, tokens: int, sharpness: float, causal: bool) -> None:
    found = rollout(random_attention(seed, layers, 3, tokens, causal=causal, sharpness=sharpness))
    assert found.dtype == torch.float64
    assert (found >= 0).all()
    assert torch.allclose(found.sum(-1), torch.ones(layers, tokens, dtype=torch.float64), rtol=0, atol=1e-12)
    if causal:
        assert torch.equal(found, found.tril())
        assert torch.allclose(found[:, 0, 0], torch.ones(layers, dtype=torch.float64), rtol=0, atol=1e-12)


def test_one_layer_is_half_the_mean_of_its_heads_and_half_the_token_itself() -> None:
    weights = random_attention(0, 1, 5, 7, causal=True)
    assert torch.allclose(rollout(weights)[0], 0.5 * weights[0].double().mean(0) + 0.5 * torch.eye(7), rtol=0, atol=1e-6)


def test_attention_to_the_first_token_halves_what_is_elsewhere_at_each_layer() -> None:
    weights = torch.zeros(6, 2, 5, 5)
    weights[..., 0] = 1
    found = rollout(weights)
    for layer in range(6):
        kept = 0.5 ** (layer + 1)
        expected = kept * torch.eye(5, dtype=torch.float64)
        expected[:, 0] += 1 - kept
        assert torch.allclose(found[layer], expected, rtol=0, atol=1e-14)


def test_heads_that_attend_to_their_own_token_leave_the_input_where_it_is() -> None:
    weights = torch.eye(4).expand(9, 3, 4, 4)
    assert torch.equal(rollout(weights), torch.eye(4, dtype=torch.float64).expand(9, 4, 4))


def test_the_rounding_of_16_bit_attention_does_not_add_up() -> None:
    weights = random_attention(3, 30, 4, 40, causal=True, sharpness=1.0).bfloat16().float()
    assert (weights.mean(1).sum(-1) - 1).abs().max() > 1e-4
    assert (rollout(weights).sum(-1) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [0.9, 0.0, 1.1, float("nan")])
def test_what_does_not_sum_to_1_is_refused(scale: float) -> None:
    weights = random_attention(0, 2, 2, 4, causal=False)
    weights[1, :, 2] *= scale
    for function in (rollout, with_residual):
        with pytest.raises(ValueError, match="not to 1"):
            function(weights)


def test_of_many_causal_layers_the_first_token_takes_all() -> None:
    found = rollout(random_attention(0, 60, 4, 8, causal=True))[:, -1, 0]
    assert (found.diff() >= 0).all()
    assert found[0] < 0.2
    assert found[-1] > 0.99
