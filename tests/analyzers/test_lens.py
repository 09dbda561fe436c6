"""The logit lens against a product written out, with norms that centre and norms that do not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.errors import Failed
from analyzers.laboratory import Laboratory
from analyzers.lens import Lens, final_norm, through_norm
from analyzers.sites import Site
from analyzers.subject import Subject

Model = Callable[..., tuple[Any, Any]]


def subject_of(tiny_model: Model, family: str, **changes: object) -> Subject:
    """Its final norm has random gains and, where it has one, a random bias."""
    model, tokenizer = tiny_model(family, **changes)
    subject = Subject(model, tokenizer, name=family, identity={})
    norm = final_norm(subject)
    assert norm is not None
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return subject


def naive(subject: Subject, direction: Any, gain: Any, *, centred: bool) -> Any:
    """[token] what the direction adds to the logits, in float64."""
    direction, gain = direction.double().numpy(), gain.double().numpy()
    if centred:
        direction = direction - direction.mean()
    return subject.model.get_output_embeddings().weight.detach().double().numpy() @ (direction * gain)


@pytest.mark.parametrize("side", ["+", "-"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_neuron_promotes_what_its_column_does(tiny_model: Model, family: str, side: Any) -> None:
    subject = subject_of(tiny_model, family)
    site = Site(1, 7, side)
    if family == "llama":
        column, gain = subject.model.model.layers[1].mlp.down_proj.weight[:, 7].detach(), subject.model.model.norm.weight.detach()
    else:
        block, gain = subject.model.transformer.h[1], subject.model.transformer.ln_f.weight.detach()
        column = block.mlp.c_proj.weight[7].detach()
    logits = site.sign * naive(subject, column, gain, centred=family == "gpt2")
    found = Laboratory(subject, site).lens(5)
    assert isinstance(found, Lens)
    order = np.argsort(-logits)
    for ends, numbers in ((found.promoted, order[:5]), (found.suppressed, order[::-1][:5])):
        assert [text for text, _ in ends] == [subject.token_text(int(number)) for number in numbers]
        assert [value for _, value in ends] == pytest.approx(logits[numbers], rel=1e-3)


def test_gains_that_stand_for_one_plus_the_weight_are_read_off_the_norm(tiny_model: Model) -> None:
    subject = subject_of(tiny_model, "gemma2")
    found = Laboratory(subject, Site(0, 3, "+", "resid")).lens(3)
    assert isinstance(found, Lens)
    unit = torch.zeros(subject.hidden)
    unit[3] = 1
    logits = naive(subject, unit, 1 + subject.model.model.norm.weight.detach(), centred=False)
    assert [value for _, value in found.promoted] == pytest.approx(np.sort(logits)[::-1][:3], rel=1e-3)


@pytest.mark.parametrize("width", [6, 7])
def test_a_norm_of_odd_width_is_centred_too(width: int) -> None:
    norm = torch.nn.LayerNorm(width)
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        norm.weight.copy_(torch.randn(width, generator=draw))
        norm.bias.copy_(torch.randn(width, generator=draw))
        direction = torch.randn(width, generator=draw)
        expected = (direction - direction.mean()) * norm.weight
        torch.testing.assert_close(through_norm(norm, direction), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("width", [6, 7, 64, 1023])
def test_a_norm_in_bfloat16_is_centred_too_and_its_gains_are_not_rounded_with_its_bias(width: int) -> None:
    norm = torch.nn.LayerNorm(width)
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        norm.weight.copy_(torch.rand(width, generator=draw) / 10 + 0.1)
        norm.bias.copy_(8 * torch.randn(width, generator=draw))
        direction = torch.randn(width, generator=draw) + 1
        norm = norm.bfloat16()
        expected = (direction - direction.mean()) * norm.weight.float()
        torch.testing.assert_close(through_norm(norm, direction), expected, rtol=1e-3, atol=1e-4)
    assert norm.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_that_does_not_centre_leaves_the_mean_of_a_direction(dtype: torch.dtype) -> None:
    norm = torch.nn.RMSNorm(64, eps=1e-6).to(dtype)
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        norm.weight.copy_(torch.randn(64, generator=draw))
        direction = torch.randn(64, generator=draw) + 1
        torch.testing.assert_close(through_norm(norm, direction), direction * norm.weight.float(), rtol=1e-3, atol=1e-4)


def test_only_tokens_of_the_tokenizer_are_named(tiny_model: Model) -> None:
    subject = subject_of(tiny_model, "llama", vocab_size=len(tiny_model("llama")[1]) + 100)
    with torch.no_grad():
        subject.model.lm_head.weight[len(subject.tokenizer) :] *= 100
    found = Laboratory(subject, Site(0, 0)).lens(5)
    assert isinstance(found, Lens)
    head, gain = subject.model.lm_head.weight.detach()[: len(subject.tokenizer)], subject.model.model.norm.weight.detach()
    direction = subject.model.model.layers[0].mlp.down_proj.weight[:, 0].detach() * gain
    assert found.promoted[0][1] == pytest.approx(float((head @ direction).max()), rel=1e-3)


def test_a_head_has_no_lens(tiny_model: Model) -> None:
    found = Laboratory(subject_of(tiny_model, "llama"), Site(0, 1, "+", "attn")).lens()
    assert isinstance(found, Failed)
