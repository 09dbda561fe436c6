"""Curvature by Kronecker factors, beside dense matrices of the same curvature and naive loops."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from analyzers.influence import watching
from analyzers.influence.curvature import Basis, Covariances, Curvature
from analyzers.influence.watching import Traces, own_tokens, shapes, traces, watched
from analyzers.text_model import TextModel

TEXTS = ([5, 9, 3, 7, 7, 2], [8, 4, 4], [6, 1])
FAMILIES = ("llama", "gpt2", "gpt_neox", "opt")


def random_traces(sequences: int, pos: int, outputs: int, inputs: int, seed: int = 0) -> Traces:
    drawn = torch.Generator().manual_seed(seed)
    return Traces(torch.randn(sequences, pos, inputs, generator=drawn), torch.randn(sequences, pos, outputs, generator=drawn))


def fitted(each: Traces) -> tuple[Basis, Curvature]:
    sequences, pos, outputs = each.errors.shape
    sums = Covariances.none((outputs, each.inputs.shape[2]), torch.device("cpu"))
    sums.add(each)
    basis = sums.basis(sequences * pos, sequences)
    return basis, Curvature(basis.squares(each) / sequences, basis)


def dense(each: Traces) -> torch.Tensor:
    """[output x input, output x input] mean over sequences of the outer product of each gradient with itself, by loops."""
    size = each.errors.shape[2] * each.inputs.shape[2]
    whole = torch.zeros(size, size, dtype=torch.float64)
    for errors, inputs in zip(each.errors.double(), each.inputs.double(), strict=True):
        gradient = sum(torch.outer(error, given) for error, given in zip(errors, inputs, strict=True))
        assert isinstance(gradient, torch.Tensor)
        whole += torch.outer(gradient.flatten(), gradient.flatten())
    return whole / len(each.errors)


def solved(whole: torch.Tensor, gradient: torch.Tensor, damping: float) -> torch.Tensor:
    damped = whole + damping * torch.eye(len(whole), dtype=torch.float64)
    return torch.linalg.solve(damped, gradient.double().flatten()).reshape(gradient.shape)


def test_where_inputs_and_errors_are_independent_the_solve_is_exact() -> None:
    """A network of two linear layers whose output is told with noise: errors of the second layer are the noise, those of the first one
    the noise through the second one, and every input is seen with every noise, so that both curvatures are Kronecker products."""
    drawn = torch.Generator().manual_seed(3)
    first, second = torch.randn(5, 4, generator=drawn), torch.randn(3, 5, generator=drawn)
    given, noise = torch.randn(7, 4, generator=drawn), torch.randn(6, 3, generator=drawn)
    pairs = list(itertools.product(given, noise))
    inputs = torch.stack([one for one, _ in pairs])[:, None]
    errors = torch.stack([other for _, other in pairs])[:, None]
    for each in (Traces(inputs, errors @ second), Traces(inputs @ first.T, errors)):
        basis, ekfac = fitted(each)
        gradient = torch.randn(ekfac.values.shape, generator=drawn)
        for curvature in (ekfac, Curvature(basis.kfac, basis)):
            exact = solved(dense(each), gradient, curvature.damping())
            torch.testing.assert_close(curvature.solve(gradient).double(), exact, rtol=2e-3, atol=2e-3 * float(exact.abs().max()))


def test_kfac_and_ekfac_equal_a_naive_computation() -> None:
    each = random_traces(6, 4, 3, 5)
    basis, ekfac = fitted(each)
    inputs, errors = (part.double().flatten(0, 1) for part in (each.inputs, each.errors))
    a, s = inputs.T @ inputs / 24, errors.T @ errors / 24
    gradient = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    # K-FAC as a dense matrix: tokens of a sequence times the Kronecker product of both covariances.
    kfac = Curvature(basis.kfac, basis)
    naive = solved(4 * torch.kron(s, a), gradient, kfac.damping())
    torch.testing.assert_close(kfac.solve(gradient).double(), naive, rtol=1e-3, atol=1e-4)
    # EK-FAC: in that product's basis the diagonal of the dense curvature.
    turn = torch.kron(torch.linalg.eigh(s)[1], torch.linalg.eigh(a)[1])
    values = torch.diag(turn.T @ dense(each) @ turn)
    torch.testing.assert_close(ekfac.values.double().flatten(), values, rtol=1e-3, atol=1e-4)
    assert ekfac.damping() == pytest.approx(0.1 * float(values.mean()), rel=1e-4)
    naive = turn @ ((turn.T @ gradient.double().flatten()) / (values + 0.1 * values.mean()))
    torch.testing.assert_close(ekfac.solve(gradient).double().flatten(), naive, rtol=1e-3, atol=1e-4)
    # The dense curvature and EK-FAC have the same trace, which K-FAC has not.
    assert float(ekfac.values.sum()) == pytest.approx(float(dense(each).trace()), rel=1e-4)


def test_diagonal_and_identity() -> None:
    each = random_traces(6, 4, 3, 5)
    squares = each.gradients().square().sum(0) / 6
    gradient = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(squares.double().flatten(), torch.diag(dense(each)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(Curvature(squares).solve(gradient), gradient / (squares + 0.1 * squares.mean()))
    torch.testing.assert_close(Curvature(torch.ones(3, 5)).solve(gradient), gradient / 1.1)


def test_few_gradients_are_written_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sequences a batch has: their gradients together are far larger than the factors that memory is told of."""
    each = random_traces(7, 2, 3, 5)
    naive = each.gradients().square().sum(0)
    written: list[int] = []
    whole = Traces.gradients

    def watched_gradients(some: Traces) -> torch.Tensor:
        written.append(len(some.inputs))
        return whole(some)

    monkeypatch.setattr(Traces, "gradients", watched_gradients)
    monkeypatch.setattr(watching, "GRADIENTS", 2 * 15 + 1)
    torch.testing.assert_close(each.squares(), naive)
    basis, _ = fitted(each)
    assert set(written) == {1, 2}
    # One that is larger than all that is allowed is still written out.
    monkeypatch.setattr(watching, "GRADIENTS", 1)
    torch.testing.assert_close(each.squares(), naive)
    assert all(part.is_contiguous() for part in (basis.inputs, basis.outputs))


def test_what_nothing_moves_has_no_inverse() -> None:
    with pytest.raises(ArithmeticError, match="moves this layer"):
        Curvature(torch.zeros(2, 3)).solve(torch.ones(2, 3))
    sums = Covariances.none((2, 3), torch.device("cpu"))
    sums.add(Traces(torch.full((1, 1, 3), torch.inf), torch.zeros(1, 1, 2)))
    with pytest.raises(ArithmeticError, match="not finite"):
        sums.basis(1, 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["mlp", "attention", "all"])
def test_gradients_are_those_of_the_weights(family: str, kind: str, tiny_model: Callable[..., Any]) -> None:
    """Of GPT-2's transposed weights and of biases, too, and of texts that are padded together."""
    network, tokenizer = tiny_model(family)
    model = TextModel(network.requires_grad_(False), tokenizer, name=family, identity={})
    modules = watched(model, kind)
    found = traces(model, modules, TEXTS, own_tokens)
    assert {name: tuple(each.gradients().shape[1:]) for name, each in found.items()} == shapes(modules)
    for number, text in enumerate(TEXTS):
        network.requires_grad_(True).zero_grad()
        ids = torch.tensor([text])
        logits = network(input_ids=ids[:, :-1]).logits[0]
        (-F.cross_entropy(logits, ids[0, 1:], reduction="sum")).backward()
        for name, module in modules.items():
            weight: Any = module.weight
            wanted = weight.grad.T if type(module).__name__ == "Conv1D" else weight.grad
            bias: Any = getattr(module, "bias", None)
            if bias is not None:
                wanted = torch.cat([wanted, bias.grad[:, None]], 1)
            torch.testing.assert_close(found[name].gradients()[number], wanted, rtol=1e-3, atol=1e-5)
    network.requires_grad_(False)


def test_what_is_only_read_is_not_said(tiny_model: Callable[..., Any]) -> None:
    network, tokenizer = tiny_model("llama")
    model = TextModel(network.requires_grad_(False), tokenizer, name="llama", identity={})
    modules = watched(model, "mlp")
    whole, late, early = (traces(model, modules, [TEXTS[0][:last]], own_tokens, first) for last, first in ((6, None), (6, [3]), (3, None)))
    for name in modules:
        # log p of all tokens is that of the first ones and that of the others behind them.
        torch.testing.assert_close(whole[name].gradients(), late[name].gradients() + early[name].gradients(), rtol=1e-3, atol=1e-5)
    for parameter in network.parameters():
        assert parameter.grad is None
    assert np.isfinite(network(input_ids=torch.tensor([TEXTS[0]])).logits.detach().numpy()).all()


def test_layers_are_of_their_kind(tiny_model: Callable[..., Any]) -> None:
    network, tokenizer = tiny_model("llama")
    model = TextModel(network, tokenizer, name="llama", identity={})
    mlp, attention, both = (list(watched(model, kind)) for kind in ("mlp", "attention", "all"))
    assert [name.rpartition(".")[2] for name in mlp] == ["gate_proj", "up_proj", "down_proj"] * 3
    assert [name.rpartition(".")[2] for name in attention] == ["q_proj", "k_proj", "v_proj", "o_proj"] * 3
    assert set(both) == {*mlp, *attention}
    with pytest.raises(Exception, match="choose one of mlp, attention, all"):
        watched(model, "head")


@pytest.mark.parametrize("size", [255, 256, 301])
def test_covariances_by_blocks_are_whole(size: int) -> None:
    drawn = torch.Generator().manual_seed(size)
    sums = Covariances.none((size, 3), torch.device("cpu"))
    wanted = torch.zeros(size, size)
    for _ in range(2):
        each = Traces(torch.randn(2, 3, 3, generator=drawn), torch.randn(2, 3, size, generator=drawn))
        sums.add(each)
        flat = each.errors.flatten(0, 1)
        wanted += flat.T @ flat
    torch.testing.assert_close(sums.errors, wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(sums.errors, sums.errors.T)
