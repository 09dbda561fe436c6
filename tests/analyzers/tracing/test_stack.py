"""Passes that begin in the middle are the whole ones, in every family, and leave the model as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.text_model import TextModel
from analyzers.tracing.kinds import KINDS
from analyzers.tracing.stack import Stack

FAMILIES = ("llama", "gpt2", "gpt_neox", "opt", "gemma2", "bloom", "falcon")
IDS = torch.tensor([[0, 5, 9, 300, 17], [0, 31, 8, 7, 120]])


@pytest.fixture
def model(request: pytest.FixtureRequest, tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint(getattr(request, "param", "llama"))), dtype="float32", device="cpu")


def plain(model: TextModel) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.model(input_ids=IDS).logits[:, -1]
    return found


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
@pytest.mark.parametrize("skips", [True, False])
def test_a_pass_from_any_block_on_is_the_whole_one(skips: bool, model: TextModel) -> None:
    expected = plain(model)
    stack = Stack(model)
    assert stack.skips
    stack.skips = skips
    logits, entered = stack.entering(IDS, lambda: stack.next_logits(IDS))
    _, gave = stack.giving(IDS)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert entered.shape == (3, 2, 5, 32)
    torch.testing.assert_close(gave["residual"][:-1], entered[1:])
    for block, hidden in enumerate([*entered, gave["residual"][-1]]):
        with stack.begun(block, hidden):
            torch.testing.assert_close(stack.next_logits(IDS.flip(0)), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain(model), expected, rtol=0, atol=0)
    assert not any("forward" in vars(module) for module in model.model.modules())


@pytest.mark.parametrize("model", [*FAMILIES, "mistral"], indirect=True)
def test_a_pass_behind_remembered_tokens_is_the_whole_one(model: TextModel) -> None:
    if model.model.config.model_type == "mistral":
        model.model.config.sliding_window = 3
    expected = plain(model)
    stack = Stack(model)
    assert stack.remembers
    logits, remembered = stack.remember(IDS)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert remembered is not None
    _, entered = stack.entering(IDS, lambda: stack.next_logits(IDS))
    assert remembered.of([0, 1], 0) is None
    order = [1, 0, 1]
    for first in range(1, 5):
        behind = remembered.of(order, first)
        before = stack.tokens
        torch.testing.assert_close(stack.next_logits(IDS[order, first:], behind=behind), expected[order], rtol=1e-4, atol=1e-4)
        with stack.begun(2, entered[2][order, first:]):
            found = stack.next_logits(IDS.flip(0)[order, first:], behind=behind)
        torch.testing.assert_close(found, expected[order], rtol=1e-4, atol=1e-4)
        assert stack.tokens - before == 2 * 3 * (5 - first)


def test_a_family_that_remembers_otherwise_is_read_whole(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that counts positions from what it reads."""
    once = model.model.forward

    def forward(input_ids: Any = None, past_key_values: Any = None, **kwargs: Any) -> Any:
        places = torch.arange(input_ids.shape[1]).expand(input_ids.shape)
        return once(input_ids=input_ids, past_key_values=past_key_values, position_ids=places, **kwargs)

    monkeypatch.setattr(model.model, "forward", forward)
    stack = Stack(model)
    assert not stack.remembers
    assert stack.remember(IDS)[1] is None
    torch.testing.assert_close(stack.remember(IDS)[0], plain(model))


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_what_modules_give_is_what_is_added_to_the_stream(model: TextModel) -> None:
    stack = Stack(model)
    _, gave = stack.giving(IDS)
    assert set(gave) == set(KINDS)
    _, entered = stack.entering(IDS, lambda: stack.next_logits(IDS))
    added = entered + gave["mlp"] + gave["attention"]
    if model.model.config.model_type == "gemma2":  # norms stand behind both
        assert not torch.allclose(added, gave["residual"], atol=1e-2)
        return
    torch.testing.assert_close(added, gave["residual"], rtol=1e-4, atol=1e-4)


def test_a_model_is_as_it_was_after_an_exception(model: TextModel) -> None:
    stack = Stack(model)
    expected = plain(model)
    hidden = torch.zeros(2, 5, 32)
    with pytest.raises(ZeroDivisionError), stack.begun(2, hidden), stack.noised([1], torch.ones(2, 1, 32)):
        raise ZeroDivisionError
    torch.testing.assert_close(plain(model), expected, rtol=0, atol=0)


def test_a_family_that_hands_on_more_than_the_stream_is_not_cut_short(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the last block also adds how often the first one ran."""
    ran = [0]
    first, last = model.model.model.layers[0], model.model.model.layers[-1]
    before, after = first.forward, last.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        ran[0] = 1
        return before(*args, **kwargs)

    def adding(*args: Any, **kwargs: Any) -> Any:
        output = after(*args, **kwargs)
        output[..., 0] += 100 * ran[0]
        ran[0] = 0
        return output

    monkeypatch.setattr(first, "forward", counted)
    monkeypatch.setattr(last, "forward", adding)
    stack = Stack(model)
    assert not stack.skips
    expected, entered = stack.entering(IDS, lambda: stack.next_logits(IDS))
    with stack.begun(2, entered[2]):
        torch.testing.assert_close(stack.next_logits(IDS), expected)


def test_noise_is_on_the_tokens_named(model: TextModel) -> None:
    stack = Stack(model)
    noise = torch.randn(2, 2, 32)
    _, clean = stack.entering(IDS, lambda: stack.next_logits(IDS))
    with stack.noised([1, 3], noise):
        _, found = stack.entering(IDS, lambda: stack.next_logits(IDS))
    expected = torch.zeros(2, 5, 32)
    expected[:, [1, 3]] = noise
    torch.testing.assert_close(found[0] - clean[0], expected)


@pytest.mark.parametrize("family", ["bert", "mixtral"])
def test_what_is_no_such_stack_is_refused(family: str, tiny_checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(SubjectError, match="is an encoder" if family == "bert" else "mixture of experts"):
        Stack(TextModel.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu"))
