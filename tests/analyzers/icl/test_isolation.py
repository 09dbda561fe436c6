"""Isolated tokens against a mask that the model is given from outside, and where isolating can change nothing."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.icl.answers import Answers, answers
from analyzers.icl.isolation import first_layers, isolated, label_positions, last_layers, random_positions
from analyzers.icl.prompts import IclPrompt
from analyzers.text_model import TextModel

Asked = tuple[TextModel, list[IclPrompt]]


def same(one: Answers, other: Answers) -> bool:
    return bool(np.allclose(one.probabilities, other.probabilities, atol=1e-5) and np.allclose(one.mass, other.mass, atol=1e-5))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_in_all_layers_it_is_a_mask_that_the_model_takes(family: str, asked: Callable[[str], Asked]) -> None:
    model, prompts = asked(family)
    positions = [label_positions(prompt) for prompt in prompts]
    found = isolated(model, prompts, positions, range(3))
    model.model.set_attn_implementation("eager")
    for number, prompt in enumerate(prompts):
        allowed = torch.ones(len(prompt), len(prompt), dtype=torch.bool).tril()
        for at in positions[number]:
            allowed[at, :at] = False
        mask = torch.zeros(1, 1, len(prompt), len(prompt)).masked_fill(~allowed, torch.finfo(torch.float32).min)
        logits = model.model(input_ids=torch.tensor([prompt.ids]), attention_mask=mask).logits[:, -1]
        expected = Answers.read(logits, prompt.class_tokens)
        assert found.probabilities[number] == pytest.approx(expected.probabilities[0], abs=1e-5)
        assert found.mass[number] == pytest.approx(expected.mass[0], abs=1e-6)
    assert not same(found, answers(model, prompts))


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_in_the_last_layer_it_changes_nothing_and_in_the_first_it_does(family: str, asked: Callable[[str], Asked]) -> None:
    """What a label gathers in the last layer nobody reads any more: the layer reads what came before it."""
    model, prompts = asked(family)
    before = answers(model, prompts)
    positions = [label_positions(prompt) for prompt in prompts]
    assert same(isolated(model, prompts, positions, [2]), before)
    assert not same(isolated(model, prompts, positions, [0]), before)
    assert same(isolated(model, prompts, [[] for _ in prompts], range(3)), before)
    # Position 0 has nothing before it.
    assert same(isolated(model, prompts, [[0] for _ in prompts], range(3)), before)


def test_the_same_prompt_with_other_positions_is_another_one(asked: Callable[[str], Asked]) -> None:
    model, prompts = asked("llama")
    labels = label_positions(prompts[0])
    together = isolated(model, [prompts[0]] * 2, [labels, []], range(3))
    assert together.probabilities[1] == pytest.approx(answers(model, prompts[:1]).probabilities[0], abs=1e-5)
    assert np.abs(together.probabilities[0] - together.probabilities[1]).max() > 1e-4


def test_random_positions_are_as_many_other_tokens_of_each_demonstration(asked: Callable[[str], Asked]) -> None:
    _, prompts = asked("llama")
    rng = np.random.default_rng(0)
    assert prompts[0].demonstrations[0].start == 0, "nothing is before the first token, which isolating would not change"
    seen = set()
    for _ in range(200):
        chosen = random_positions(prompts[0], rng)
        assert len(set(chosen)) == len(chosen)
        inside = [sum(at in own for at in chosen) for own in prompts[0].demonstrations]
        assert inside == [len(own) for own in prompts[0].label_tokens]
        seen |= set(chosen)
    labels = set(label_positions(prompts[0]))
    assert seen == {at for own in prompts[0].demonstrations for at in own} - labels - {0}


def test_a_demonstration_with_fewer_other_tokens_gives_all_of_them() -> None:
    prompt = IclPrompt(
        ids=(5, 6, 7, 8, 9, 6, 7),
        class_tokens=(6, 7),
        labels=(1, 3),
        classes=(0, 1),
        label_tokens=((1,), (3, 4)),
        formatting=((), (2,)),
        texts=((0,), ()),
        demonstrations=(range(2), range(2, 5)),
    )
    assert random_positions(prompt, np.random.default_rng(0)) == [2]


@pytest.mark.parametrize(("layers", "first", "last"), [(30, range(5), range(25, 30)), (6, range(3), range(3, 6)), (1, range(1), range(1))])
def test_first_and_last_layers(layers: int, first: range, last: range) -> None:
    assert (first_layers(layers), last_layers(layers)) == (first, last)


def test_what_cannot_be_isolated_is_refused(asked: Callable[[str], Asked]) -> None:
    model, prompts = asked("llama")
    with pytest.raises(ValueError, match=r"layers \[3\] do not exist"):
        isolated(model, prompts[:1], [[1]], [3])
    with pytest.raises(ValueError, match="no position of its prompt"):
        isolated(model, prompts[:1], [[len(prompts[0])]], [0])
    model, prompts = asked("bloom")
    with pytest.raises(SubjectError, match="not masked or changed"):
        isolated(model, prompts[:1], [[1]], [0])
    assert model.model.config._attn_implementation == "eager"
