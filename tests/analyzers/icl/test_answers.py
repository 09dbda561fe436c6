"""Answers against each prompt by itself, and loyalties against their definitions on sets."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import SubjectError
from analyzers.icl.answers import WORDS, Answers, answers, label_loyalty, word_loyalty
from analyzers.icl.prompts import IclPrompt
from analyzers.text_model import TextModel

Asked = tuple[TextModel, list[IclPrompt]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt"])
def test_answers_are_those_to_each_prompt_by_itself(family: str, asked: Callable[[str], Asked]) -> None:
    model, prompts = asked(family)
    found = answers(model, prompts)
    assert len({len(prompt) for prompt in prompts}) > 2
    for number, prompt in enumerate(prompts):
        logits = model.model(input_ids=torch.tensor([prompt.ids])).logits[0, -1].double()
        of_labels = logits[list(prompt.class_tokens)]
        assert found.probabilities[number] == pytest.approx(of_labels.softmax(0).numpy(), abs=1e-5)
        assert found.mass[number] == pytest.approx(float(logits.softmax(0)[list(prompt.class_tokens)].sum()), abs=1e-6)
        assert set(found.words[number].tolist()) == set(logits.topk(WORDS).indices.tolist())
        assert found.chosen[number] == int(of_labels.argmax())


def test_logits_that_are_no_numbers_are_refused(asked: Callable[[str], Asked]) -> None:
    model, prompts = asked("llama")
    model.model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(SubjectError, match="load it in float32"):
        answers(model, prompts)


def test_no_prompts_have_no_answers(asked: Callable[[str], Asked]) -> None:
    with pytest.raises(ValueError, match="no prompts"):
        answers(asked("llama")[0], [])


TOP = st.lists(st.integers(0, 9), min_size=WORDS, max_size=WORDS, unique=True)


@given(st.lists(st.tuples(TOP, TOP, st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6))
def test_loyalties_are_their_definitions(rows: list[tuple[list[int], list[int], int, int]]) -> None:
    def told(words: list[list[int]], classes: list[int]) -> Answers:
        return Answers(np.eye(3)[classes], np.ones(len(classes)), np.array(words))

    one = told([row[0] for row in rows], [row[2] for row in rows])
    other = told([row[1] for row in rows], [row[3] for row in rows])
    expected = [len(set(a) & set(b)) / len(set(a) | set(b)) for a, b, _, _ in rows]
    assert word_loyalty(one, other).tolist() == pytest.approx(expected)
    assert label_loyalty(one, other).tolist() == [float(a == b) for _, _, a, b in rows]
