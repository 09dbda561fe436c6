"""What a decoder says of tokens, against one forward pass for each text."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.growing.token_scores import fits, score_tokens
from analyzers.text_model import TextModel

TEXTS = ["The river rises in the hills", "a", "Visitors who walk along the water in the evening may see herons, otters and apples."]


@pytest.fixture
def model(tiny_model: Callable[..., tuple[Any, Any]]) -> TextModel:
    return TextModel(*tiny_model("llama"), name="tiny", identity={})


def test_scores_are_those_of_each_text_alone(model: TextModel) -> None:
    prompts = [model.begun(text) for text in TEXTS]
    found = score_tokens(model, [prompt.ids for prompt in prompts])
    for prompt, scores in zip(prompts, found, strict=True):
        with torch.inference_mode():
            logits = model.model(input_ids=torch.tensor([prompt.ids])).logits[0].double()
        for at in range(1, len(prompt)):
            weights = logits[at - 1].exp()
            assert scores.logprobs[at - 1] == pytest.approx(float((weights[prompt.ids[at]] / weights.sum()).log()), abs=1e-4)
            assert scores.right[at - 1] == (int(logits[at - 1].argmax()) == prompt.ids[at])
        assert len(scores.logprobs) == len(scores.right) == len(prompt) - 1


def test_a_text_begins_behind_the_token_that_begins_texts(model: TextModel) -> None:
    prompt = model.begun("The river")
    assert prompt.ids[0] == model.tokenizer.bos_token_id
    assert prompt.spans[0] is None
    assert "".join(prompt.tokens[1:]) == "The river"
    assert prompt.spans[1] is not None
    # A tokenizer that puts it there itself is not given a second one.
    from tokenizers import processors

    start = model.tokenizer.bos_token
    model.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, model.tokenizer.bos_token_id)]
    )
    assert TextModel(model.model, model.tokenizer, name="tiny", identity={}).begun("The river").ids == prompt.ids


def test_what_cannot_be_scored(model: TextModel) -> None:
    assert not fits(model, [1])
    assert fits(model, [1] * 1024)
    assert not fits(model, [1] * 1025)
    with torch.no_grad():
        model.model.lm_head.weight[5] = float("nan")
    with pytest.raises(SubjectError, match="no numbers"):
        score_tokens(model, [[1, 2, 3]])
