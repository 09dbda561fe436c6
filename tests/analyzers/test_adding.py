"""Adding to a state against the same arithmetic by hand, one text at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.adding import answers_after, asked
from analyzers.errors import Failed, SubjectError
from analyzers.statement_likelihood import mean_logprobs
from analyzers.text_model import TextModel

TEXTS = ["The river is long. This statement is", "Apples are red, and honey is sweet. This statement is", "Wool. This statement is"]


def loaded(tiny_model: Callable[..., tuple[Any, Any]], family: str) -> TextModel:
    model, tokenizer = tiny_model(family)
    return TextModel(model, tokenizer, name=family, identity={})


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_vector_changes_the_answer_as_the_blocks_by_hand_say(tiny_model: Callable[..., tuple[Any, Any]], family: str, layer: int) -> None:
    model = loaded(tiny_model, family)
    prompts = [asked(model, text, text.index(".")) for text in TEXTS]
    added = np.random.default_rng(0).normal(size=(3, 32))
    found = answers_after(model, prompts, (5, 9), layer=layer, added=added)
    plain = answers_after(model, prompts, (5, 9))
    assert np.abs(found - plain).max() > (1e-3 if layer < 3 else -1)
    for number, prompt in enumerate(prompts):
        blocks = next(module for module in model.model.modules() if isinstance(module, torch.nn.ModuleList))

        def change(module: Any, args: Any, output: Any, row: int = number, at: int = prompt.at) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[0, at] += torch.tensor(added[row], dtype=hidden.dtype)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        def enter(module: Any, args: Any, row: int = number, at: int = prompt.at) -> Any:
            hidden = args[0].clone()
            hidden[0, at] += torch.tensor(added[row], dtype=hidden.dtype)
            return (hidden, *args[1:])

        handle: Any = blocks[0].register_forward_pre_hook(enter) if layer == 0 else blocks[layer - 1].register_forward_hook(change)
        with torch.inference_mode():
            logits = model.model(torch.tensor([prompt.ids])).logits[0, -1].float()
        handle.remove()
        assert found[number] == pytest.approx(logits.log_softmax(-1)[[5, 9]].numpy(), abs=1e-4)
    # In the last layer what is added before the last token reaches no answer.
    if layer == 3:
        assert found == pytest.approx(plain, abs=1e-5)


def test_no_change_and_nothing_added_are_the_same(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    model = loaded(tiny_model, "llama")
    prompts = [asked(model, text, len(text)) for text in TEXTS]
    assert [prompt.at for prompt in prompts] == [len(prompt.ids) - 1 for prompt in prompts]
    assert answers_after(model, prompts, (1, 2), layer=2, added=np.zeros((3, 32))) == pytest.approx(answers_after(model, prompts, (1, 2)))


def test_what_cannot_be_changed_is_told(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    encoder, albert = loaded(tiny_model, "bert"), loaded(tiny_model, "albert")
    prompts = [asked(encoder, TEXTS[0], 5)]
    for model in (encoder, albert):
        with pytest.raises(SubjectError, match="is an encoder, which continues no text"):
            answers_after(model, prompts, (1,))
    llama = loaded(tiny_model, "llama")
    with pytest.raises(SubjectError, match="no stack of 3 blocks"):
        answers_after(llama, [asked(llama, TEXTS[0], 5)], (1,), layer=4, added=np.zeros((1, 32)))
    with pytest.raises(SubjectError, match="no token of the text"):
        asked(llama, TEXTS[0], 0)


def test_likelihood_is_the_mean_over_tokens(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    model = loaded(tiny_model, "llama")
    found = mean_logprobs(model, TEXTS)
    assert not isinstance(found, Failed)
    for text, value in zip(TEXTS, found, strict=True):
        ids = torch.tensor([model.prompt(text).ids])
        with torch.inference_mode():
            loss = model.model(ids, labels=ids).loss
        assert value == pytest.approx(-float(loss), abs=1e-4)
    for wrong, reason in ((loaded(tiny_model, "bert"), "encoder"), (model, "single token")):
        failed = mean_logprobs(wrong, ["a"])
        assert isinstance(failed, Failed)
        assert reason in failed.reason
