"""Changes of weights: their closed forms, beside naive ones, and that a model has its own weights again to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.editing.covariance import RIDGE, against
from analyzers.editing.deltas import Delta, applied, fingerprint, weights_hash
from analyzers.editing.memit import spread
from analyzers.editing.rome import constrained, rank_one
from analyzers.errors import SubjectError
from analyzers.text_model import TextModel

FAMILIES = ("llama", "gpt2", "gpt_neox", "opt")


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 1000))
def test_rank_one_gives_the_value_and_disturbs_least(inputs: int, outputs: int, seed: int) -> None:
    many = normal(200, inputs, seed=seed)
    covariance = many.T @ many / 200
    weight, key, value = normal(outputs, inputs, seed=seed + 1), normal(inputs, seed=seed + 2), normal(outputs, seed=seed + 3)
    delta = rank_one(covariance, key, value, weight @ key)
    changed = weight + delta.matrix
    torch.testing.assert_close(changed @ key, value, rtol=1e-3, atol=1e-3)
    assert np.linalg.matrix_rank(delta.matrix.numpy(), tol=1e-4 * float(delta.matrix.norm())) <= 1
    # A key that is orthogonal under the inverse covariance is answered as before.
    direction = np.linalg.solve(covariance.numpy() + RIDGE * np.trace(covariance.numpy()) / inputs * np.eye(inputs), key.numpy())
    other = normal(inputs, seed=seed + 4)
    other -= torch.tensor(direction * (other.numpy() @ direction) / (direction @ direction), dtype=torch.float32)
    torch.testing.assert_close(delta.matrix @ other, torch.zeros(outputs), rtol=0, atol=1e-3 * float(delta.matrix.norm() + 1))
    # Any other matrix that gives the value disturbs the keys of the covariance more.
    ridged = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(inputs)
    plain = torch.outer(value - weight @ key, key) / key.square().sum()

    def cost(matrix: torch.Tensor) -> float:
        return float((matrix @ ridged @ matrix.T).trace())

    assert cost(delta.matrix) <= cost(plain) * 1.001 + 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 10), st.integers(1, 8), st.integers(1, 3), st.integers(0, 1000))
def test_memit_equals_its_formula_and_without_others_gives_all(inputs: int, outputs: int, facts: int, seed: int) -> None:
    many = normal(300, inputs, seed=seed)
    covariance = many.T @ many / 300
    keys, residuals = normal(inputs, facts, seed=seed + 1), normal(outputs, facts, seed=seed + 2)
    c, k, r = (each.double().numpy() for each in (covariance, keys, residuals))
    naive = r @ k.T @ np.linalg.inv(20 * c + k @ k.T)
    np.testing.assert_allclose(spread(covariance, keys, residuals, 20).matrix.numpy(), naive, rtol=1e-3, atol=1e-4)
    alone = spread(covariance, keys, residuals, 1e-6).matrix
    torch.testing.assert_close(alone @ keys, residuals, rtol=1e-2, atol=1e-2)
    # The same change as of rank one, where there is one fact.
    if facts == 1:
        one = rank_one(covariance, keys[:, 0], residuals[:, 0], torch.zeros(outputs)).matrix
        cosine = torch.nn.functional.cosine_similarity(one.flatten(), alone.flatten(), dim=0)
        assert float(cosine) > 0.999


def test_against_is_a_solve() -> None:
    many = normal(100, 6, seed=0)
    covariance = many.T @ many / 100
    key = normal(6, seed=1)
    back = (covariance + RIDGE * covariance.diagonal().mean() * torch.eye(6)) @ against(covariance, key)
    torch.testing.assert_close(back, key, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_edits_are_added_and_taken_back_to_the_bit(family: str, dtype: torch.dtype, tiny_model: Callable[..., Any]) -> None:
    network, tokenizer = tiny_model(family)
    model = TextModel(network.to(dtype), tokenizer, name=family, identity={"revision": "r"})
    from analyzers.editing.methods import projections

    (first, one), (second, other) = projections(model)[:2]
    before, identity = weights_hash(model), dict(model.identity)
    inputs, outputs = (48, 32)
    small = {first: Delta(normal(outputs, 2, seed=1), normal(inputs, 2, seed=2))}
    large = {first: Delta.whole(normal(outputs, inputs, seed=3)), second: Delta(normal(outputs, 1, seed=4), normal(inputs, 1, seed=5))}
    key = normal(inputs, seed=6).to(dtype)
    gave = [layer(key).float() for layer in (one, other)]
    with applied(model, [small, large]):
        within = model.identity["edits"]
        added = small[first].matrix + large[first].matrix
        torch.testing.assert_close(
            one(key).float(), gave[0] + added @ key.float(), rtol=0.05, atol=0.3 if dtype == torch.bfloat16 else 1e-3
        )
        with applied(model, [small]):
            assert model.identity["edits"] not in (within, None)
            assert weights_hash(model) != before
        assert model.identity["edits"] == within
        assert not torch.equal(other(key).float(), gave[1])
    assert weights_hash(model) == before
    assert model.identity == identity
    with pytest.raises(ZeroDivisionError), applied(model, [large]):
        raise ZeroDivisionError
    assert weights_hash(model) == before
    assert model.identity == identity
    with applied(model, []):
        assert model.identity == identity


def test_the_hash_is_of_every_parameter_and_buffer(tiny_model: Callable[..., Any]) -> None:
    network, tokenizer = tiny_model("llama")
    model = TextModel(network, tokenizer, name="tiny", identity={})
    before = weights_hash(model)
    for tensor in (*network.parameters(), *network.buffers()):
        flat = tensor.data.reshape(-1)
        own = flat[0].clone()
        flat[0] = own + 1
        assert weights_hash(model) != before
        flat[0] = own
        assert weights_hash(model) == before


def test_fingerprints_tell_edits_apart() -> None:
    one = Delta(normal(3, 1, seed=1), normal(4, 1, seed=2))
    assert fingerprint({"a": [one]}) == fingerprint({"a": [Delta(one.left.clone(), one.right.clone())]})
    others = [{"b": [one]}, {"a": [one, one]}, {"a": [Delta(-one.left, one.right)]}]
    assert len({fingerprint(each) for each in ({"a": [one]}, *others)} | {fingerprint({"a": [one]}, "x")}) == 5


def test_an_edit_of_another_model_is_refused(tiny_model: Callable[..., Any]) -> None:
    network, tokenizer = tiny_model("llama")
    model = TextModel(network, tokenizer, name="tiny", identity={})
    with (
        pytest.raises(SubjectError, match=r"a layer 'h\.0\.mlp', which 'tiny' does not have"),
        applied(model, [{"h.0.mlp": Delta.whole(normal(2, 3, seed=0))}]),
    ):
        pass
    wrong = {"layers.0.mlp.down_proj": Delta.whole(normal(2, 3, seed=0))}
    with pytest.raises(SubjectError, match="with 3 inputs and 2 outputs, and that of 'tiny' is of another shape"), applied(model, [wrong]):
        pass


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 12), st.integers(1, 8), st.integers(1, 3), st.integers(0, 1000))
def test_several_keys_are_given_their_values_and_the_rest_is_disturbed_least(inputs: int, outputs: int, keys: int, seed: int) -> None:
    many = normal(300, inputs, seed=seed)
    covariance = many.T @ many / 300
    weight, k, v = normal(outputs, inputs, seed=seed + 1), normal(inputs, keys, seed=seed + 2), normal(outputs, keys, seed=seed + 3)
    delta = constrained(covariance, k, v, weight @ k)
    torch.testing.assert_close((weight + delta.matrix) @ k, v, rtol=1e-2, atol=1e-2)
    ridged = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(inputs)
    # Lagrange: the gradient of the cost is a combination of the keys, so that nothing orthogonal to them is gained by another change.
    other = normal(inputs, seed=seed + 4)
    basis, _ = torch.linalg.qr(k)
    other -= basis @ (basis.T @ other)
    gradient = delta.matrix @ ridged
    torch.testing.assert_close(gradient @ other, torch.zeros(outputs), rtol=0, atol=1e-3 * float(gradient.norm() * other.norm() + 1))
    twice = constrained(covariance, torch.cat([k, k], 1), torch.cat([v, v], 1), weight @ torch.cat([k, k], 1))
    torch.testing.assert_close(twice.matrix, delta.matrix, rtol=1e-2, atol=1e-3 * float(delta.matrix.abs().max() + 1))
