"""What all methods have in common: what they return and refuse, on whatever model, and that they leave it as it was."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.errors import ExplicateError, SubjectError
from analyzers.saliency import SALIENCIES, Saliency
from analyzers.saliency.value import values_of
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

IDS, TARGET = (11, 70, 90, 40), (30, 12)
GRADIENTS = ["gradient-norm", "gradient-x-input", "integrated-gradients"]
READING = ["attention", "attention-flow", "attention-rollout"]
THROUGH_THE_DOOR = ["attention-x-gradient", "value-norm"]
METHODS = [*GRADIENTS, *READING, *THROUGH_THE_DOOR]


def made(model: Any, tokenizer: Any) -> TextModel:
    return TextModel(model.requires_grad_(False), tokenizer, name="tiny", identity={})


def value_of(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> float:
    return float(values_of(model, [ids], target)[0])


def test_methods_are_known_by_their_names() -> None:
    assert list(SALIENCIES.all()) == sorted(METHODS)
    with pytest.raises(ExplicateError, match="no method is called 'gradient'; choose one of attention, attention-flow"):
        SALIENCIES.get("gradient")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("method", METHODS)
def test_every_token_of_the_prompt_has_a_value(method: str, family: str, dtype: torch.dtype, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model(family)
    model = made(net.to(dtype), tokenizer)
    before = (net.config._attn_implementation, model.forward(torch.tensor([IDS])).logits)
    found = SALIENCIES.get(method)(model, IDS, TARGET)
    assert (found.values.shape, found.values.dtype) == ((4,), np.float64)
    assert np.ptp(found.values) > 1e-3
    assert (found.values >= 0).all() or method in ("gradient-x-input", "integrated-gradients")
    assert found.signed == (method in ("gradient-x-input", "integrated-gradients", "attention-x-gradient"))
    assert (found.values == SALIENCIES.get(method)(model, IDS, TARGET).values).all()
    assert net.config._attn_implementation == before[0]
    assert torch.equal(model.forward(torch.tensor([IDS])).logits, before[1])
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_values_in_bfloat16_are_near_those_in_float32(method: str, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model("gpt2")
    exact = SALIENCIES.get(method)(made(net, tokenizer), IDS, TARGET).values
    rounded = SALIENCIES.get(method)(made(net.to(torch.bfloat16), tokenizer), IDS, TARGET).values
    assert (rounded != exact).any()
    assert np.abs(rounded - exact).max() < 0.15 * np.abs(exact).max()


@pytest.mark.parametrize("family", ["gpt_neo", "gptj", "bloom", "falcon"])
def test_a_model_whose_attention_cannot_be_exchanged_has_the_other_methods(family: str, tiny_model: Tiny) -> None:
    changes = {"attn_implementation": "eager"} if family == "falcon" else {}
    model = made(*tiny_model(family, **changes))
    for method in [*GRADIENTS, *READING]:
        assert np.ptp(SALIENCIES.get(method)(model, IDS, TARGET).values) > 1e-4
    for method in THROUGH_THE_DOOR:
        with pytest.raises(SubjectError, match="models compute attention inside their modules"):
            SALIENCIES.get(method)(model, IDS, TARGET)


@pytest.mark.parametrize("method", METHODS)
def test_what_no_method_serves_is_refused(method: str, tiny_model: Tiny) -> None:
    saliency = SALIENCIES.get(method)
    model = made(*tiny_model("llama", max_position_embeddings=8))
    assert len(saliency(model, range(3, 9), TARGET).values) == 6
    assert len(saliency(model, (3,), TARGET).values) == 1
    with pytest.raises(SubjectError, match=r"the text is 9 tokens, .* and tiny takes 8; shorten it"):
        saliency(model, range(3, 10), TARGET)
    for ids, target in (((), TARGET), (IDS, ())):
        with pytest.raises(ValueError, match="each of at least one token"):
            saliency(model, ids, target)
    with pytest.raises(SubjectError, match=r"'tiny' is an encoder, .* its tokenizer has no mask"):
        saliency(made(*tiny_model("bert")), IDS, TARGET)


def test_values_are_numbers() -> None:
    with pytest.raises(SubjectError, match="a token has no finite value"):
        Saliency(np.array([1.0, np.nan]))


@pytest.mark.slow
def test_the_name_of_a_country_matters_for_its_capital() -> None:
    model = TextModel.load("smollm2-135m", dtype="float32", device="cpu")
    prompt, target = model.prompt("The capital of France is"), model.continuation("The capital of France is", " Paris")
    assert value_of(model, prompt.ids, target) > -1
    found = {method: SALIENCIES.get(method)(model, prompt.ids, target) for method in METHODS}
    assert all(result.values.shape == (5,) for result in found.values())
    path, place = found["integrated-gradients"], prompt.tokens.index(" France")
    assert abs(path.facts["gap"]) <= 0.01 * abs(path.values[1:].sum())
    assert path.facts["steps"] <= 64
    assert path.values[place] > 1
    # It is where attention that is not held for the first token goes.
    assert found["attention-rollout"].values[0] > 0.99
    assert 0 < found["attention"].values[place] < found["attention"].values[0]
