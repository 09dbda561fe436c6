"""Learned weights of labels, against the same learned by whole passes over whole prompts, one edge at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analyzers.attention.door import attending
from analyzers.errors import SubjectError
from analyzers.icl.answers import answers
from analyzers.icl.prompts import IclPrompt, Template, icl_prompt
from analyzers.icl.reweighting import elsewhere, learn_weights, reweighted
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

REVIEWS = Template("Review: {text}\nSentiment:{label}\n", ("Negative", "Positive", "Mixed"))
SHOWN = [("the river rises", 1), ("slowly through", 0), ("it reaches the harbour", 2), ("north of the town", 1)]
QUERIES = ["the bank", "runs", "in the hills north", "a"]
GOLD = [0, 2, 1, 1]


def prompts_of(model: TextModel) -> list[IclPrompt]:
    return [icl_prompt(model, REVIEWS, SHOWN, query) for query in QUERIES]


def made(tiny: tuple[Any, Any]) -> TextModel:
    return TextModel(*tiny, name="tiny", identity={})


def naive_logits(model: TextModel, prompt: IclPrompt, beta: Tensor) -> Tensor:
    """[class] of a whole pass in which every edge to a label is multiplied by itself."""

    def changed(layer: int, probabilities: Tensor) -> Tensor:
        factors = [[torch.ones(()) for _ in range(len(prompt))] for _ in range(model.heads)]
        for position, label in zip(prompt.labels, prompt.classes, strict=True):
            for head in range(model.heads):
                factors[head][position] = beta[label, layer, head].exp()
        gate = torch.stack([torch.stack(row) for row in factors])
        last = probabilities[:, :, prompt.q] * gate
        return torch.cat([probabilities[:, :, : prompt.q], last[:, :, None]], dim=2)

    with attending(model.model, changed=changed):
        logits: Tensor = model.forward(torch.tensor([prompt.ids])).logits[0, -1]
    return logits[list(prompt.class_tokens)]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen2"])
def test_weights_are_those_of_whole_passes(family: str, tiny_model: Tiny) -> None:
    model = made(tiny_model(family))
    prompts = prompts_of(model)
    found = learn_weights(model, prompts, GOLD, epochs=2, seed=3)
    beta = torch.zeros(3, model.layers, model.heads, requires_grad=True)
    adam, rng = torch.optim.Adam([beta], lr=0.01), np.random.default_rng(3)
    losses: list[list[float]] = [[], []]
    for epoch in range(2):
        for number in rng.permutation(len(prompts)).tolist():
            adam.zero_grad()
            loss = -naive_logits(model, prompts[number], beta).log_softmax(0)[GOLD[number]]
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            losses[epoch].append(loss.item())
    assert beta.abs().median() > 0.01
    # Adam divides by the size of the gradient, so that a gradient near 0 has a step of any sign.
    assert torch.allclose(found.beta, beta, atol=2e-3)
    assert np.allclose(found.losses, np.mean(losses, axis=1), atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_answers_with_weights_are_those_of_whole_passes(family: str, tiny_model: Tiny) -> None:
    model = made(tiny_model(family))
    prompts = prompts_of(model)
    beta = torch.randn(3, model.layers, model.heads, generator=torch.Generator().manual_seed(1)) * 2
    found = reweighted(model, prompts, beta)
    with torch.no_grad():
        expected = torch.stack([naive_logits(model, prompt, beta).softmax(0) for prompt in prompts])
    assert np.allclose(found.probabilities, expected, atol=1e-5)
    plain = answers(model, prompts)
    assert np.abs(found.probabilities - plain.probabilities).max() > 1e-3
    same = reweighted(model, prompts, torch.zeros_like(beta))
    assert np.allclose(same.probabilities, plain.probabilities, atol=1e-6)


def test_learning_lowers_the_loss_and_leaves_the_model_as_it_was(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    prompts = prompts_of(model)
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    found = learn_weights(model, prompts, GOLD, rate=0.1, epochs=8)
    assert len(found.losses) == 8
    assert found.losses[-1] < found.losses[0]
    again = learn_weights(model, prompts, GOLD, rate=0.1, epochs=8)
    assert torch.equal(found.beta, again.beta)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.model.parameters())


def test_weights_of_other_tokens_are_those_of_edges_to_them(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    prompts = prompts_of(model)
    positions = [own.start + 1 for own in prompts[0].demonstrations]
    beta = torch.randn(3, model.layers, model.heads, generator=torch.Generator().manual_seed(1)) * 2
    moved = elsewhere(prompts, positions)
    found = reweighted(model, moved, beta)
    for number, prompt in enumerate(prompts):

        def changed(layer: int, probabilities: Tensor, prompt: IclPrompt = prompt) -> Tensor:
            new = probabilities.clone()
            for position, label in zip(positions, prompt.classes, strict=True):
                new[:, :, prompt.q, position] *= beta[label, layer].exp()
            return new

        with torch.no_grad(), attending(model.model, changed=changed):
            logits = model.forward(torch.tensor([prompt.ids])).logits[0, -1, list(prompt.class_tokens)]
        assert np.allclose(found.probabilities[number], logits.softmax(0), atol=1e-5)
    assert np.abs(found.probabilities - reweighted(model, prompts, beta).probabilities).max() > 1e-3
    assert learn_weights(model, moved, GOLD, epochs=1).beta.abs().min() > 0
    for wrong in (positions[1:], [*positions[1:], prompts[0].query.start], [-1, *positions[1:]]):
        with pytest.raises(ValueError, match="one position of the demonstrations for each"):
            elsewhere(prompts, wrong)


def test_a_model_whose_attention_is_fixed_is_refused(tiny_model: Tiny) -> None:
    model = made(tiny_model("bloom"))
    with pytest.raises(SubjectError, match="can be read, not masked or changed"):
        learn_weights(model, prompts_of(model), GOLD)
    with pytest.raises(ValueError, match="no prompts"):
        learn_weights(model, [], [])
