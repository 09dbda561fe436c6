"""Gradients of a continuation's value: closed forms, finite differences of the embeddings, captum, and what integrated ones add up to."""

import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.saliency import SALIENCIES, Saliency
from analyzers.saliency.value import values_of
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]
Floats = npt.NDArray[np.float64]

IDS, TARGET = (11, 70, 90, 40), (30, 12)
FAMILIES = ["llama", "gemma2", "gpt2", "gpt_neox", "bloom", "gpt_neo"]


def made(model: Any, tokenizer: Any) -> TextModel:
    return TextModel(model.requires_grad_(False), tokenizer, name="tiny", identity={})


def found(method: str, model: TextModel, ids: Sequence[int] = IDS, target: Sequence[int] = TARGET) -> Saliency:
    return SALIENCIES.get(method)(model, ids, target)


def value_of(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> float:
    return float(values_of(model, [ids], target)[0])


def value_at(model: TextModel, given: Tensor, target: Sequence[int] = TARGET) -> Tensor:
    """Values of prompts whose tokens have other embeddings [prompt, token, width], read by a hook on the model's own."""

    def swap(_module: Any, _args: Any, output: Tensor) -> Tensor:
        return torch.cat([given.to(output.dtype), output[:, given.shape[1] :]], 1)

    hook = model.model.get_input_embeddings().register_forward_hook(swap)
    ids = torch.tensor([[1] * given.shape[1] + list(target)] * len(given))
    logits = model.model(input_ids=ids).logits.double().log_softmax(-1)
    hook.remove()
    return torch.stack([logits[:, given.shape[1] - 1 + at, token] for at, token in enumerate(target)]).sum(0)


def slopes(model: TextModel, ids: Sequence[int]) -> Floats:
    """[token, dimension] by finite differences."""
    own = model.model.get_input_embeddings()(torch.tensor(ids)).double()
    steps = 1e-3 * torch.eye(own.numel(), dtype=torch.float64).reshape(-1, *own.shape)
    with torch.no_grad():
        differences = value_at(model, own + steps) - value_at(model, own - steps)
    estimated: Floats = (differences / 2e-3).reshape(own.shape).numpy()
    return estimated


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_finite_differences(family: str, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model(family)
    model = made(net.double(), tokenizer)
    expected, own = slopes(model, IDS), net.get_input_embeddings()(torch.tensor(IDS)).numpy()
    assert np.abs(expected).max() > 0.1
    near = {"rel": 2e-2, "abs": 2e-2}  # some families normalise and attend in float32 whatever their own format
    assert found("gradient-norm", model).values == pytest.approx(np.sqrt((expected**2).sum(-1)), **near)
    assert found("gradient-x-input", model).values == pytest.approx((expected * own).sum(-1), **near)


@pytest.mark.parametrize("target", [(30,), (30, 12, 7)])
@pytest.mark.parametrize("family", FAMILIES)
def test_captum_finds_the_same(family: str, target: tuple[int, ...], tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(*tiny_model(family))
    words = model.model.get_input_embeddings()
    ids, end = (model.tokenizer.bos_token_id, 11, 70, 90, 40), model.tokenizer.eos_token_id

    def value(given: Tensor) -> Tensor:
        return value_at(model, given, target)

    own = words(torch.tensor([ids])).requires_grad_()
    theirs: Any = InputXGradient(value).attribute(own)
    assert found("gradient-x-input", model, ids, target).values == pytest.approx(theirs[0].sum(-1).detach().numpy(), abs=1e-4)
    monkeypatch.setattr("analyzers.saliency.integrated_gradients.MOST", 32)
    monkeypatch.setattr("analyzers.saliency.integrated_gradients.WRONG", np.inf)
    ours = found("integrated-gradients", model, ids, target)
    baseline = words(torch.tensor([[ids[0], *[end] * 4]]))
    path: Any = IntegratedGradients(value, multiply_by_inputs=True)
    theirs, gap = path.attribute(own, baseline, n_steps=32, method="gausslegendre", return_convergence_delta=True)
    assert np.abs(ours.values).max() > 0.1
    assert ours.values == pytest.approx(theirs[0].sum(-1).detach().numpy(), abs=1e-3)
    assert ours.facts["gap"] == pytest.approx(float(gap), abs=1e-3)
    assert ours.facts["steps"] == 32


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 11), min_size=1, max_size=20), st.integers(1, 4), st.data())
def test_all_is_exact_where_the_value_is_linear(linear_model: TextModel, ids: list[int], length: int, data: st.DataObject) -> None:
    net = linear_model.model
    far = len(ids) - 1 - np.arange(len(ids))
    share = sum(net.steps ** (far + later) for later in range(length))
    given_to = (net.words.weight @ net.weights).numpy()
    target = [1] * length
    assert found("gradient-x-input", linear_model, ids, target).values == pytest.approx(share * given_to[ids], abs=1e-9)
    norm = float(net.weights.norm())
    assert found("gradient-norm", linear_model, ids, target).values == pytest.approx(np.abs(share) * norm, abs=1e-9)
    # Special tokens, here 0, stay as they are; all others are led to it.
    path = found("integrated-gradients", linear_model, ids, target)
    expected = share * (given_to[ids] - given_to[0])
    assert path.values == pytest.approx(expected, abs=1e-9)
    assert path.facts["gap"] == pytest.approx(0, abs=1e-9)
    assert path.facts["baseline"] == pytest.approx(value_of(linear_model, ids, target) - expected[1:].sum(), abs=1e-9)
    # Those that are not of the text stay as they are, too.
    text = data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    path = SALIENCIES.get("integrated-gradients")(linear_model, ids, target, text)
    expected = np.where(text, expected, 0)
    assert path.values == pytest.approx(expected, abs=1e-9)
    assert not path.values[~np.array(text)].any()
    assert path.facts["baseline"] == pytest.approx(value_of(linear_model, ids, target) - expected[1:].sum(), abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("begun", [False, True])
def test_integrated_gradients_are_complete(family: str, begun: bool, tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.saliency.integrated_gradients.WRONG", np.inf)
    model = made(*tiny_model(family))
    end = model.tokenizer.eos_token_id
    first = model.tokenizer.bos_token_id if begun else 11
    ids = (first, 70, 90, end, 40, 12)
    path = found("integrated-gradients", model, ids)
    without = value_of(model, (first, end, end, end, end, end), TARGET)
    whole = value_of(model, ids, TARGET)
    assert abs(whole - without) > 0.05
    assert path.facts["baseline"] == pytest.approx(without, abs=1e-4)
    complete = abs(path.facts["gap"]) <= 0.01 * abs(whole - without)
    assert complete or path.facts["steps"] == 256
    assert complete or family == "gemma2"  # whose random weights make the value leap
    assert path.facts["gap"] == pytest.approx(path.values[1:].sum() - (whole - without), abs=1e-3)
    assert path.facts["relative_gap"] == pytest.approx(abs(path.facts["gap"] / (whole - without)), rel=1e-2, abs=1e-3)
    assert path.values[3] == 0
    # The first token is led nowhere: what is told of it is what it does to the value alone.
    assert path.values[0] == pytest.approx(0 if begun else whole - value_of(model, (end, *ids[1:]), TARGET), abs=1e-4)
    assert (path.values[0] == 0) == begun


def test_steps_are_doubled_until_the_values_add_up_or_there_are_enough(tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(*tiny_model("gpt2"))
    place = "analyzers.saliency.integrated_gradients"
    monkeypatch.setattr(f"{place}.WRONG", np.inf)
    gaps = {}
    for steps in (1, 2, 4, 8, 16):
        monkeypatch.setattr(f"{place}.LEAST", steps)
        monkeypatch.setattr(f"{place}.MOST", steps)
        facts = found("integrated-gradients", model).facts
        assert facts["steps"] == steps
        gaps[steps] = abs(facts["gap"]) / abs(value_of(model, IDS, TARGET) - facts["baseline"])
    enough = min(steps for steps, gap in gaps.items() if gap <= 0.01)
    assert enough > 1
    monkeypatch.setattr(f"{place}.LEAST", 1)
    assert found("integrated-gradients", model).facts["steps"] == enough
    monkeypatch.setattr(f"{place}.SLACK", 0)
    monkeypatch.setattr(f"{place}.MOST", 8)
    assert found("integrated-gradients", model).facts["steps"] == 8


def test_values_that_miss_a_tenth_of_what_they_must_add_up_to_are_refused(linear_model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    net = linear_model.model
    forward = net.forward

    def leaping(*args: Any, **kwargs: Any) -> Any:
        """The value is higher right at the end of the path, which no gradient on the way there knows of."""
        found = forward(*args, **kwargs)
        given = kwargs["inputs_embeds"]
        near = (given.detach() - net.words.weight[4]).norm(dim=-1).amin(-1) < 1e-6
        found.logits[..., 1] += leap * near[:, None]
        return found

    monkeypatch.setattr(type(net), "forward", lambda self, *args, inputs_embeds=None, **kwargs: leaping(inputs_embeds=inputs_embeds))
    given_to = (net.words.weight @ net.weights).tolist()
    change = given_to[4] - given_to[0]
    for share, told in ((0.05, True), (-0.05, True), (0.2, False), (-0.3, False)):
        leap = share * change / (1 - share)
        if told:
            facts = found("integrated-gradients", linear_model, (3, 4), (1,)).facts
            assert facts["relative_gap"] == pytest.approx(abs(share))
            assert facts["gap"] == pytest.approx(-leap)
        else:
            with pytest.raises(
                SubjectError, match=rf"did not converge: after 256 steps .* a gap of {re.escape(f'{-leap:+.3g}')}; choose another method"
            ):
                found("integrated-gradients", linear_model, (3, 4), (1,))


def test_passes_are_as_large_as_they_may_be(tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(*tiny_model("llama"))
    together = found("integrated-gradients", model).values
    seen: list[int] = []
    model.model.register_forward_pre_hook(lambda _module, _args, kwargs: seen.append(len(kwargs["inputs_embeds"])), with_kwargs=True)
    monkeypatch.setattr("analyzers.saliency.gradients.BATCH_TOKENS", 16)
    assert found("integrated-gradients", model).values == pytest.approx(together, abs=1e-4)
    assert max(seen) == 3
    assert sum(seen) >= 35


def test_what_has_no_gradient_is_refused(tiny_model: Tiny, linear_model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(*tiny_model("llama"))
    for name in ("eos_token", "bos_token", "pad_token"):
        setattr(model.tokenizer, name, None)
    with pytest.raises(SubjectError, match="the tokenizer of 'tiny' has no token for the end of a text"):
        found("integrated-gradients", model)
    assert found("gradient-norm", model).values.all()
    monkeypatch.setattr(type(linear_model.model), "forward", lambda self, input_ids, attention_mask: SimpleNamespace(logits=None))
    for method in ("gradient-norm", "gradient-x-input", "integrated-gradients"):
        with pytest.raises(SubjectError, match="'linear' takes no embeddings in place of tokens"):
            found(method, linear_model, (3, 4), (1,))
