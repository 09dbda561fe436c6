"""Flow against linear programming and closed forms, its conservation at every node, and its bounds."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from analyzers.attention.flow import UNIT, carried, flow
from analyzers.errors import SubjectError

ATTENTION = {
    "seed": st.integers(0, 10_000),
    "tokens": st.integers(1, 6),
    "sharpness": st.sampled_from([0.0, 1.0, 3.0, 10.0]),
    "causal": st.booleans(),
}


def random_attention(seed: int, layers: int, tokens: int, sharpness: float, causal: bool) -> Tensor:
    """[layer, head, query, key] float64, of two heads"""
    scores = sharpness * torch.randn(layers, 2, tokens, tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if causal:
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def capacities(weights: Tensor) -> NDArray[np.float64]:
    """[layer, query, key]"""
    return (0.5 * weights.mean(1) + 0.5 * torch.eye(weights.shape[-1])).numpy()


def by_linear_programming(capacity: NDArray[np.float64], query: int, key: int) -> float:
    """Most that leaves the query if every inner node passes on what it gets and only the key keeps any."""
    layers, tokens, _ = capacity.shape
    edges = [(layer, i, j) for layer in range(layers) for i in range(tokens) for j in range(tokens)]
    # What leaves each node minus what enters it, of the nodes of all layers but the query's and the key's.
    balance = np.zeros(((layers + 1) * tokens, len(edges)))
    for column, (layer, i, j) in enumerate(edges):
        balance[(layer + 1) * tokens + i, column] += 1
        balance[layer * tokens + j, column] -= 1
    source, sink = layers * tokens + query, key
    inner = np.delete(balance, [source, sink], axis=0)
    bounds = [(0.0, capacity[edge]) for edge in edges]
    found = linprog(-balance[source], A_eq=inner, b_eq=np.zeros(len(inner)), bounds=bounds, method="highs")
    assert found.status == 0
    return float(-found.fun)


@settings(deadline=None)
@given(layers=st.integers(1, 4), **ATTENTION)
def test_it_is_what_linear_programming_finds(layers: int, seed: int, tokens: int, sharpness: float, causal: bool) -> None:
    weights = random_attention(seed, layers, tokens, sharpness, causal)
    query = seed % tokens
    expected = [by_linear_programming(capacities(weights), query, key) for key in range(tokens)]
    assert flow(weights, [query])[0] == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(layers=st.integers(1, 6), **ATTENTION)
def test_flow_is_conserved_and_keeps_to_the_capacities(layers: int, seed: int, tokens: int, sharpness: float, causal: bool) -> None:
    weights = random_attention(seed, layers, tokens, sharpness, causal)
    query, key = seed % tokens, seed // 7 % tokens
    carries = carried(weights, query, key) * UNIT
    value = flow(weights, [query])[0, key] * UNIT
    assert np.array_equal(carries, carries.round())
    assert (carries >= 0).all()
    assert (carries <= capacities(weights) * UNIT).all()
    for layer in range(1, layers):
        assert np.array_equal(carries[layer].sum(0), carries[layer - 1].sum(1))
    assert np.array_equal(carries[-1].sum(1), value * np.eye(tokens)[query])
    assert np.array_equal(carries[0].sum(0), value * np.eye(tokens)[key])
    # Sharper attention may be less than one unit.
    if sharpness <= 1:
        assert (value > 0) == (key <= query or not causal)


@settings(deadline=None)
@given(layers=st.integers(1, 12), **ATTENTION)
def test_it_is_at_most_what_the_first_and_the_last_layer_let_through(
    layers: int, seed: int, tokens: int, sharpness: float, causal: bool
) -> None:
    weights = random_attention(seed, layers, tokens, sharpness, causal)
    found, capacity = flow(weights, range(tokens)), capacities(weights)
    assert found.shape == (tokens, tokens)
    assert (found <= 1 + 1e-12).all()
    assert (found <= capacity[0].sum(0) + 1e-12).all()
    if causal:
        assert np.array_equal(found, np.tril(found))
        for query in range(tokens):
            later = capacity[-1, query, ::-1].cumsum()[::-1]
            assert (found[query] <= later + 1e-12).all()
    # Straight down the residual stream.
    assert (np.diag(found) >= 0.5 - 1e-6).all()


@settings(deadline=None)
@given(**ATTENTION)
def test_one_layer_lets_through_its_attention(seed: int, tokens: int, sharpness: float, causal: bool) -> None:
    weights = random_attention(seed, 1, tokens, sharpness, causal)
    assert flow(weights, range(tokens)) == pytest.approx(capacities(weights)[0], abs=2 / UNIT)


@settings(deadline=None)
@given(**ATTENTION)
def test_two_layers_let_through_the_narrower_edge_of_each_position_between(seed: int, tokens: int, sharpness: float, causal: bool) -> None:
    weights = random_attention(seed, 2, tokens, sharpness, causal)
    first, second = capacities(weights)
    expected = np.minimum(second[:, :, None], first[None]).sum(1)
    assert flow(weights, range(tokens)) == pytest.approx(expected, abs=2 * tokens / UNIT)


@pytest.mark.parametrize("tokens", [2, 3, 8])
@pytest.mark.parametrize(("layers", "other"), [(2, lambda n: 0.5), (3, lambda n: 1 - 1 / (2 * n)), (6, lambda n: 1.0)])
def test_even_attention(tokens: int, layers: int, other: Callable[[int], float]) -> None:
    weights = torch.full((layers, 3, tokens, tokens), 1 / tokens)
    expected = np.full((tokens, tokens), other(tokens))
    np.fill_diagonal(expected, 1.0)
    assert flow(weights, range(tokens)) == pytest.approx(expected, abs=1e-6)


def test_many_layers_agree_with_linear_programming() -> None:
    weights = random_attention(5, 12, 9, 2.0, True)
    expected = [by_linear_programming(capacities(weights), 8, key) for key in range(9)]
    assert flow(weights, [8])[0] == pytest.approx(expected, abs=1e-6)


def test_queries_come_in_the_order_given_and_progress_reaches_its_end() -> None:
    weights = random_attention(1, 3, 5, 1.0, True)
    told: list[tuple[str, int, int]] = []
    some = flow(weights, [4, 0, 2, 4], lambda *what: told.append(what))
    assert np.array_equal(some, flow(weights, range(5))[[4, 0, 2, 4]])
    # Keys that each query sees: 5, 1, 3 and 5.
    assert told == [("attention flow", done, 14) for done in range(15)]
    assert flow(weights, []).shape == (0, 5)


def test_a_query_outside_the_text_is_named() -> None:
    weights = random_attention(1, 2, 5, 1.0, True)
    for position in (5, -1):
        with pytest.raises(SubjectError, match=rf"position {position} .* 0 to 4"):
            flow(weights, [0, position])
        with pytest.raises(SubjectError, match=rf"position {position} .* 0 to 4"):
            carried(weights, 0, position)
