"""Attention to labels against the attention that a model returns itself, prompt by prompt."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.icl.deep_attention import label_attention
from analyzers.icl.prompts import IclPrompt
from analyzers.text_model import TextModel

Asked = tuple[TextModel, list[IclPrompt]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_it_is_the_sum_over_heads_and_demonstrations(family: str, asked: Callable[[str], Asked]) -> None:
    model, prompts = asked(family)
    found = label_attention(model, prompts)
    assert found.shape == (len(prompts), 3, 3)
    model.model.set_attn_implementation("eager")
    for number, prompt in enumerate(prompts):
        attentions = model.model(input_ids=torch.tensor([prompt.ids]), output_attentions=True).attentions
        expected = np.zeros((3, 3))
        for layer, attention in enumerate(attentions):
            for at, label in zip(prompt.labels, prompt.classes, strict=True):
                expected[layer, label] += float(attention[0, :, -1, at].sum())
        assert found[number] == pytest.approx(expected, abs=1e-5)
        assert expected.min() > 0


def test_what_has_no_attention_to_read_is_refused(asked: Callable[[str], Asked]) -> None:
    model, prompts = asked("bloom")
    with pytest.raises(SubjectError, match="not masked or changed"):
        label_attention(model, prompts)
    with pytest.raises(ValueError, match="no prompts"):
        label_attention(model, [])
