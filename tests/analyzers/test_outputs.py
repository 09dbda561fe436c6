"""Next-token distributions are those of the model itself, whatever it does to its logits, in float32 and in chunks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from analyzers import outputs as module
from analyzers.errors import SubjectError
from analyzers.outputs import Outputs
from analyzers.padding import padded
from analyzers.subject import Subject

Model = Callable[..., tuple[Any, Any]]

TEXTS = ["The river rises in the hills north of the town", "a bridge", "cheese, apples, honey and wool."]


def subject_of(tiny_model: Model, family: str, **changes: object) -> Subject:
    model, tokenizer = tiny_model(family, **changes)
    return Subject(model, tokenizer, name=family, identity={})


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "opt", "bloom", "gpt_neox", "falcon", "phi", "gptj"])
def test_they_are_what_the_model_returns(tiny_model: Model, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"final_logit_softcapping": 2.0} if family == "gemma2" else {}
    subject = subject_of(tiny_model, family, **changes)
    read = Outputs(subject)
    monkeypatch.setattr(module, "CELLS", 3 * read.vocabulary)
    texts = [[*subject.prefix, *subject.encode(text)] for text in TEXTS]
    ids, mask = padded(texts)
    hidden = read.hidden(ids, mask)
    for row, text in enumerate(texts):
        with torch.inference_mode():
            expected = subject.model(input_ids=torch.tensor([text])).logits[0].float().log_softmax(-1)
        chunks = [chunk for (chunk,) in read.chunks(hidden[row, : len(text)])]
        assert max(len(chunk) for chunk in chunks) <= 3
        torch.testing.assert_close(torch.cat(chunks), expected, rtol=1e-4, atol=1e-4)


def test_steps_behind_a_cache_are_the_whole_text(tiny_model: Model) -> None:
    subject = subject_of(tiny_model, "llama")
    read = Outputs(subject)
    ids = torch.tensor([subject.encode(TEXTS[0])])
    _, cache = read.step(ids[:, :4])
    hidden, _ = read.step(ids[:, 4:], cache)
    whole = read.hidden(ids, torch.ones_like(ids))[:, -1]
    torch.testing.assert_close(hidden, whole, rtol=1e-4, atol=1e-4)


def test_a_model_in_bfloat16_has_distributions_in_float32(tiny_model: Model) -> None:
    model, tokenizer = tiny_model("llama")
    subject = Subject(model.bfloat16(), tokenizer, name="half", identity={})
    read = Outputs(subject)
    ids = torch.tensor([subject.encode(TEXTS[0])])
    hidden = read.hidden(ids, torch.ones_like(ids))[0]
    assert hidden.dtype == torch.bfloat16
    logprobs = read.logprobs(hidden)
    assert logprobs.dtype == torch.float32
    expected = (hidden.double() @ subject.model.lm_head.weight.double().T).log_softmax(-1)
    torch.testing.assert_close(logprobs.double(), expected, rtol=0, atol=1e-5)


def test_a_model_that_puts_something_before_its_head_is_refused(tiny_model: Model) -> None:
    subject = subject_of(tiny_model, "llama")
    subject.model.lm_head.register_forward_pre_hook(lambda _module, given: (given[0] * 3,))
    with pytest.raises(SubjectError, match="way of its own"):
        Outputs(subject)
