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
from torch import Tensor, nn

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
    baseline = words(torch.tensor([[ids[0], *[end] * 4]]))
    path: Any = IntegratedGradients(value, multiply_by_inputs=True)
    theirs, gap = path.attribute(own, baseline, n_steps=512, method="gausslegendre", return_convergence_delta=True)
    expected = theirs[0].sum(-1).detach().numpy()
    assert abs(float(gap)) < 1e-3
    assert np.abs(expected).max() > 0.05
    # The larger the steps may miss, the fewer there are.
    steps: list[float] = []
    for slack in (0.01, 0.001):
        monkeypatch.setattr("analyzers.saliency.integrated_gradients.SLACK", slack)
        ours = found("integrated-gradients", model, ids, target)
        assert ours.values == pytest.approx(expected, abs=max(slack * float(np.abs(expected).sum()), 1e-3))
        steps.append(ours.facts["steps"])
    assert 16 <= steps[0] < steps[1] < 256


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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
def test_integrated_gradients_are_complete(family: str, begun: bool, tiny_model: Tiny) -> None:
    model = made(*tiny_model(family))
    end = model.tokenizer.eos_token_id
    first = model.tokenizer.bos_token_id if begun else 11
    ids = (first, 70, 90, end, 40, 12)
    path = found("integrated-gradients", model, ids)
    without = value_of(model, (first, end, end, end, end, end), TARGET)
    whole = value_of(model, ids, TARGET)
    assert abs(whole - without) > 0.05
    assert path.facts["baseline"] == pytest.approx(without, abs=1e-4)
    # Also that of gemma2, nearly all of which is in the first thousandth of the path.
    assert abs(path.facts["gap"]) <= 0.01 * abs(whole - without)
    assert path.facts["steps"] < 64
    assert path.facts["gap"] == pytest.approx(path.values[1:].sum() - (whole - without), abs=1e-3)
    assert path.facts["relative_gap"] == pytest.approx(abs(path.facts["gap"] / (whole - without)), rel=1e-2, abs=1e-3)
    assert path.values[3] == 0
    # The first token is led nowhere: what is told of it is what it does to the value alone.
    assert path.values[0] == pytest.approx(0 if begun else whole - value_of(model, (end, *ids[1:]), TARGET), abs=1e-4)
    assert (path.values[0] == 0) == begun


class Bent(nn.Module):
    """The logit of token 1 is FAR and the sum over the prompt's positions of what `bend` makes of the embedding's product with
    `weights`; all other logits are 0. In float64; `seen` are the embeddings of all that it was given."""

    def __init__(self, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.words = nn.Embedding.from_pretrained(torch.randn(12, 5, generator=draw, dtype=torch.float64))
        self.weights = torch.randn(5, generator=draw, dtype=torch.float64)
        self.bend = bend
        self.seen: list[Tensor] = []

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Any:
        self.seen += inputs_embeds.detach()
        logits = torch.zeros(*inputs_embeds.shape[:2], 12, dtype=torch.float64)
        logits[..., 1] = -60 + self.bend(inputs_embeds @ self.weights).cumsum(-1)
        return SimpleNamespace(logits=logits)


def bent(linear_model: TextModel, bend: Callable[[Tensor], Tensor]) -> Bent:
    """What the model of the fixture is from now on."""
    linear_model.model = Bent(bend)
    return linear_model.model


@pytest.mark.parametrize("power", [1, 2])
def test_a_polynomial_has_its_exact_values(power: int, linear_model: TextModel) -> None:
    # The slope of a square is straight along the path, and so is the curve through it.
    net = bent(linear_model, lambda seen: seen**power)
    seen = (net.words.weight @ net.weights).numpy()
    path = found("integrated-gradients", linear_model, (3, 4, 0, 7), (1,))
    assert path.values == pytest.approx(seen[[3, 4, 0, 7]] ** power - seen[0] ** power, abs=1e-9)
    assert path.facts["steps"] == 16


@pytest.mark.parametrize("sharp", [1.0, 30.0, 1000.0])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    place=st.floats(0.02, 0.98),
    heights=st.lists(st.floats(0.5, 2), min_size=12, max_size=12),
    ids=st.lists(st.integers(1, 11), min_size=2, max_size=6),
)
def test_a_leap_at_any_place_is_found(sharp: float, linear_model: TextModel, place: float, heights: list[float], ids: list[int]) -> None:
    # All tokens' parts of the value rise at one place of the path, each by its own height: the rise is what it is worth.
    net = bent(linear_model, lambda seen: seen)
    seen, tall = net.words.weight @ net.weights, torch.tensor(heights, dtype=torch.float64)[ids]

    def rise(along: Any) -> Tensor:
        return tall * torch.sigmoid(sharp * (torch.as_tensor(along, dtype=torch.float64) - place))

    net.bend = lambda given: rise((given - seen[0]) / (seen[ids] - seen[0]))
    rises = (rise(1) - rise(0)).numpy()
    path = found("integrated-gradients", linear_model, ids, (1,))
    assert path.values == pytest.approx(rises, abs=0.011 * rises[1:].sum())
    assert abs(path.facts["gap"]) <= 0.01 * rises[1:].sum()
    assert path.facts["steps"] < 64


def test_no_place_of_the_path_is_computed_twice(linear_model: TextModel) -> None:
    net = bent(linear_model, lambda seen: torch.sigmoid(50 * seen))
    path = found("integrated-gradients", linear_model, (3, 4, 7), (1,))
    given = torch.stack(net.seen)
    start, end = (net.words.weight[list(ids)] for ids in ((3, 0, 0), (3, 4, 7)))
    shares = (given - start)[:, 1] / (end - start)[1]
    along = torch.isclose(given, start + shares.mean(-1)[:, None, None] * (end - start)).all(-1).all(-1)
    # All are on the path but one, which is the prompt with the baseline in place of its first token.
    assert (~along).sum() == 1
    assert torch.equal(given[~along][0], net.words.weight[[0, 4, 7]])
    places = sorted(shares.mean(-1)[along].tolist())
    assert len(places) == path.facts["steps"] + 1 > 17
    assert np.diff(places).min() > 2.0**-17
    assert (places[0], places[-1]) == pytest.approx((0, 1))
    # Halving makes all of them wholes of a power of two.
    assert [place * 2**16 for place in places] == pytest.approx(np.round([place * 2**16 for place in places]), abs=1e-6)


def test_steps_are_halved_until_the_values_add_up_or_there_are_enough(tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(*tiny_model("gpt2"))
    place = "analyzers.saliency.integrated_gradients"
    monkeypatch.setattr(f"{place}.WRONG", np.inf)
    monkeypatch.setattr(f"{place}.HALVED", 0)
    gaps = {}
    for steps in (1, 2, 4, 8, 16, 32):
        monkeypatch.setattr(f"{place}.LEAST", steps)
        monkeypatch.setattr(f"{place}.MOST", steps)
        facts = found("integrated-gradients", model).facts
        assert facts["steps"] == steps
        gaps[steps] = abs(facts["gap"]) / abs(value_of(model, IDS, TARGET) - facts["baseline"])
    # With all steps alike.
    enough = min(steps for steps, gap in gaps.items() if gap <= 0.01)
    assert enough > 1
    monkeypatch.setattr(f"{place}.LEAST", 1)
    monkeypatch.setattr(f"{place}.MOST", 256)
    alike = found("integrated-gradients", model).facts
    assert alike["steps"] >= enough
    assert alike["relative_gap"] <= 0.01
    # Those alone that miss most.
    monkeypatch.setattr(f"{place}.HALVED", 0.5)
    assert found("integrated-gradients", model).facts["steps"] <= alike["steps"]
    monkeypatch.setattr(f"{place}.SLACK", 0)
    monkeypatch.setattr(f"{place}.MOST", 8)
    assert 8 <= found("integrated-gradients", model).facts["steps"] < 16
    # Nor is any step halved that is no longer than this.
    monkeypatch.setattr(f"{place}.MOST", 256)
    monkeypatch.setattr(f"{place}.FINEST", 1 / 4)
    assert found("integrated-gradients", model).facts["steps"] <= 4


def test_errors_that_cancel_are_no_convergence(linear_model: TextModel) -> None:
    # Even about the middle of the path, the value rises and falls back: the whole is right with any steps that are even about it, too.
    net = bent(linear_model, lambda seen: seen)
    seen = net.words.weight @ net.weights
    middle, half = (seen[4] + seen[0]) / 2, (seen[4] - seen[0]) / 2

    def bend(given: Tensor) -> Tensor:
        along = (given - middle) / half
        return along + 4 * torch.exp(-((along / 0.02) ** 2))

    net.bend = bend
    path = found("integrated-gradients", linear_model, (3, 4), (1,))
    assert path.values[1] == pytest.approx(2, abs=0.04)
    assert path.facts["steps"] > 24


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
                SubjectError, match=rf"did not converge: after 28 steps .* a gap of {re.escape(f'{-leap:+.3g}')}; choose another method"
            ):
                found("integrated-gradients", linear_model, (3, 4), (1,))


def test_passes_are_as_large_as_they_may_be(tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(*tiny_model("llama"))
    together = found("integrated-gradients", model).values
    seen: list[int] = []
    model.model.register_forward_pre_hook(lambda _module, _args, kwargs: seen.append(len(kwargs["inputs_embeds"])), with_kwargs=True)
    monkeypatch.setattr("analyzers.saliency.gradients.BATCH_TOKENS", 16)
    apart = found("integrated-gradients", model)
    assert apart.values == pytest.approx(together, abs=1e-4)
    assert max(seen) == 3
    # One for each end of a step, and the prompt with the baseline in place of its first token.
    assert sum(seen) == apart.facts["steps"] + 2 >= 18


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
