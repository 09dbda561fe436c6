"""Statistics of heads against scipy and naive loops, and heads of which they are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from analyzers.attention.statistics import Statistics, distance, entropy, head_statistics, on_first, share
from analyzers.errors import SubjectError

ATTENTION = {"seed": st.integers(0, 10_000), "tokens": st.integers(2, 9), "causal": st.booleans()}


def random_attention(seed: int, tokens: int, causal: bool) -> Tensor:
    """[3 layers, 2 heads, query, key] float32, with zeros also where nothing is masked"""
    scores = 3 * torch.randn(3, 2, tokens, tokens, generator=torch.Generator().manual_seed(seed))
    scores[:, :, -1, 1:] = -torch.inf
    if causal:
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


@settings(deadline=None)
@given(**ATTENTION)
def test_entropy_is_that_of_scipy(seed: int, tokens: int, causal: bool) -> None:
    weights = random_attention(seed, tokens, causal)
    found = entropy(weights)
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(stats.entropy(weights.double().numpy(), axis=-1).mean(-1), abs=1e-6)


@settings(deadline=None)
@given(offset=st.integers(-8, 8), **ATTENTION)
def test_distance_and_shares_are_those_of_loops(offset: int, seed: int, tokens: int, causal: bool) -> None:
    weights = random_attention(seed, tokens, causal)
    far, first = np.zeros((3, 2)), np.zeros((3, 2))
    there: dict[tuple[int, int], list[float]] = {}
    for layer in range(3):
        for head in range(2):
            for query in range(tokens):
                first[layer, head] += float(weights[layer, head, query, 0]) / tokens
                for key in range(tokens):
                    one = float(weights[layer, head, query, key])
                    far[layer, head] += one * abs(query - key) / tokens
                    if query - key == offset:
                        there.setdefault((layer, head), []).append(one)
    assert distance(weights).numpy() == pytest.approx(far, abs=1e-12)
    assert on_first(weights).numpy() == pytest.approx(first, abs=1e-12)
    if abs(offset) >= tokens:
        assert not there
        with pytest.raises(SubjectError, match=f"at least {abs(offset) + 1} tokens"):
            share(weights, offset)
        return
    expected = [[np.mean(there[layer, head]) for head in range(2)] for layer in range(3)]
    assert share(weights, offset).numpy() == pytest.approx(np.array(expected), abs=1e-12)


def one_layer(*heads: Tensor) -> Statistics:
    return head_statistics(torch.stack(heads)[None])


def test_heads_that_attend_to_one_place() -> None:
    tokens = 6
    first = torch.zeros(tokens, tokens)
    first[:, 0] = 1
    previous = torch.diag(torch.ones(tokens - 1), -1)
    previous[0, 0] = 1
    found = one_layer(torch.eye(tokens), first, previous)
    assert torch.equal(found.entropy, torch.zeros(1, 3, dtype=torch.float64))
    # Column: itself, first, previous. The first query can attend to nothing but itself.
    assert found.distance[0].tolist() == pytest.approx([0, 2.5, 5 / 6])
    assert found.self[0].tolist() == pytest.approx([1, 1 / 6, 1 / 6])
    assert found.first[0].tolist() == pytest.approx([1 / 6, 1, 2 / 6])
    assert found.previous[0].tolist() == pytest.approx([0, 1 / 5, 1])


def test_even_attention() -> None:
    tokens = 5
    causal = torch.ones(tokens, tokens).tril()
    found = one_layer(torch.full((tokens, tokens), 1 / tokens), causal / causal.sum(-1, keepdim=True))
    seen = np.arange(1, tokens + 1)
    assert found.entropy[0].tolist() == pytest.approx([np.log(tokens), np.log(seen).mean()], abs=1e-6)
    assert found.distance[0].tolist() == pytest.approx([(tokens**2 - 1) / (3 * tokens), ((seen - 1) / 2).mean()], abs=1e-6)
    assert found.first[0].tolist() == pytest.approx([1 / tokens, (1 / seen).mean()], abs=1e-6)
    assert found.self[0].tolist() == pytest.approx([1 / tokens, (1 / seen).mean()], abs=1e-6)
    assert found.previous[0].tolist() == pytest.approx([1 / tokens, (1 / seen[1:]).mean()], abs=1e-6)


def test_a_text_of_one_token_has_none_before_another() -> None:
    with pytest.raises(SubjectError, match="it has 1, give a text of at least 2 tokens"):
        head_statistics(torch.ones(2, 2, 1, 1))
