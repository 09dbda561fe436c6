"""Importance of heads and tokens, against finite differences of the loss; pruned heads, against weights set to zero."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from analyzers.attention.door import attending
from analyzers.icl.answers import answers
from analyzers.icl.prompts import IclPrompt, Template, icl_prompt
from analyzers.icl.pruning import importance, most_important, without_heads
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

REVIEWS = Template("Review: {text}\nSentiment:{label}\n", ("Negative", "Positive"))
SHOWN = [("the river rises", 1), ("slowly through", 0)]
GOLD = [0, 1, 1]
STEP = 1e-2


def prompts_of(model: TextModel) -> list[IclPrompt]:
    return [icl_prompt(model, REVIEWS, SHOWN, query) for query in ("the bank", "runs", "in the hills")]


def made(tiny: tuple[Any, Any]) -> TextModel:
    return TextModel(*tiny, name="tiny", identity={})


@torch.no_grad()
def loss(model: TextModel, prompt: IclPrompt, gold: int, change: Callable[[int, Tensor], Tensor]) -> float:
    with attending(model.model, changed=change):
        logits = model.forward(torch.tensor([prompt.ids])).logits[0, -1, list(prompt.class_tokens)].double()
    return -float(logits.log_softmax(0)[gold])


def slope(model: TextModel, prompt: IclPrompt, gold: int, gate: Callable[[int, int], Tensor]) -> float:
    """By central differences: how the loss changes with the edges that the gate [head, query, key] of a layer opens."""

    def at(step: float) -> float:
        return loss(model, prompt, gold, lambda layer, weights: weights * (1 + step * gate(layer, len(prompt))))

    return (at(STEP) - at(-STEP)) / (2 * STEP)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_importance_is_what_the_loss_changes_by(family: str, tiny_model: Tiny) -> None:
    model = made((tiny_model(family)[0].double(), tiny_model(family)[1]))
    prompts = prompts_of(model)
    found = importance(model, prompts, GOLD)
    assert found.tokens.shape == (prompts[0].query.start,)
    assert found.heads.shape == (3, 4)
    for layer, head in ((0, 1), (1, 3), (2, 0)):

        def of_head(at: int, length: int, layer: int = layer, head: int = head) -> Tensor:
            gate = torch.zeros(4, length, length)
            gate[head] = float(at == layer)
            return gate

        expected = np.mean([abs(slope(model, prompt, gold, of_head)) for prompt, gold in zip(prompts, GOLD, strict=True)])
        assert found.heads[layer, head] == pytest.approx(expected, rel=1e-2, abs=1e-5)
        assert expected > 1e-4
    for position in (0, 4, prompts[0].labels[0]):

        def of_token(_layer: int, length: int, position: int = position) -> Tensor:
            gate = torch.zeros(4, length, length)
            gate[:, position + 1 :, position] = 1
            return gate

        expected = np.mean([abs(slope(model, prompt, gold, of_token)) for prompt, gold in zip(prompts, GOLD, strict=True)])
        assert found.tokens[position] == pytest.approx(expected, rel=1e-2, abs=1e-5)
        assert expected > 1e-4


def test_a_pruned_head_writes_nothing(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    prompts = prompts_of(model)
    plain = answers(model, prompts)
    assert np.allclose(without_heads(model, prompts, np.ones((3, 4), np.bool_)).probabilities, plain.probabilities, atol=1e-6)
    kept = np.ones((3, 4), np.bool_)
    kept[0, 2] = kept[2, 1] = kept[2, 3] = False
    found = without_heads(model, prompts, kept)
    assert np.abs(found.probabilities - plain.probabilities).max() > 1e-4
    with torch.no_grad():
        for layer, head in zip(*np.nonzero(~kept), strict=True):
            model.model.model.layers[layer].self_attn.o_proj.weight[:, 8 * head : 8 * head + 8] = 0
    assert np.allclose(found.probabilities, answers(model, prompts).probabilities, atol=1e-6)


def test_prompts_of_other_demonstrations_are_refused(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    other = icl_prompt(model, REVIEWS, SHOWN[::-1], "a")
    with pytest.raises(ValueError, match="same demonstrations"):
        importance(model, [*prompts_of(model), other], [0, 0, 0, 0])
    with pytest.raises(ValueError, match="no prompts"):
        importance(model, [], [])


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=30), share=st.floats(0, 1))
def test_the_most_important_are_the_largest(values: list[float], share: float) -> None:
    kept = most_important(np.array(values), share)
    assert kept.sum() == round(share * len(values))
    inside, outside = [x for x, k in zip(values, kept, strict=True) if k], [x for x, k in zip(values, kept, strict=True) if not k]
    assert not inside or not outside or min(inside) >= max(outside)
