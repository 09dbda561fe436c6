"""Experiments on one site against hooks by hand, one text at a time, in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from analyzers.errors import Failed, SubjectError
from analyzers.interventions import AblationEffect
from analyzers.laboratory import Laboratory
from analyzers.sites import Site
from analyzers.subject import Subject

Model = Callable[..., tuple[Any, Any]]

TEXTS = [
    "The river rises in the hills north of the town and runs slowly through meadows",
    "a bridge",
    "There are markets on Mondays and Thursdays, where farmers sell cheese",
    "they have",
]
LAYER, NEURON = 1, 7


@pytest.fixture(scope="module")
def subject(tiny_model: Model) -> Subject:
    """A neuron of its second block writes much."""
    model, tokenizer = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[LAYER].mlp.down_proj.weight[:, NEURON] *= 30
    return Subject(model, tokenizer, name="llama", identity={})


def by_hand(subject: Subject, text: str, change: Callable[[torch.Tensor], torch.Tensor] | None = None) -> tuple[Any, Any]:
    """(raw activations [token], log-probabilities [token, vocabulary]) of a text behind the prefix, float64; the neuron changed."""
    ids = torch.tensor([[*subject.prefix, *subject.encode(text)]])
    seen: list[torch.Tensor] = []

    def hook(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        neurons = args[0].clone()
        seen.append(neurons[0, 1:, NEURON].clone())
        if change is not None:
            neurons[0, 1:, NEURON] = change(neurons[0, 1:, NEURON])
        return (neurons,)

    handle = subject.model.model.layers[LAYER].mlp.down_proj.register_forward_pre_hook(hook)
    with torch.inference_mode():
        logits = subject.model(input_ids=ids).logits[0, 1:].double()
    handle.remove()
    return seen[0].double().numpy(), logits.log_softmax(-1).numpy()


def divergence(one: Any, other: Any) -> Any:
    return np.array([jensenshannon(np.exp(a), np.exp(b)) ** 2 for a, b in zip(one, other, strict=True)])


def fine(effects: Sequence[AblationEffect | Failed]) -> list[AblationEffect]:
    found = [effect for effect in effects if isinstance(effect, AblationEffect)]
    assert len(found) == len(effects)
    return found


@pytest.mark.parametrize("side", ["+", "-"])
def test_activations_are_those_of_each_text_alone(subject: Subject, side: Any) -> None:
    site = Site(LAYER, NEURON, side)
    loud = 0.0
    for number, (text, excerpt) in enumerate(zip(TEXTS, Laboratory(subject, site).activations(TEXTS), strict=True)):
        assert not isinstance(excerpt, Failed)
        raw, _ = by_hand(subject, text)
        assert excerpt.activations == pytest.approx(np.maximum(site.sign * raw, 0), rel=1e-3, abs=1e-5)
        assert (excerpt.text, excerpt.document) == (text, f"text/{number}")
        assert excerpt.activations.dtype == np.float32
        loud = max(loud, float(excerpt.activations.max()))
    assert loud > 0


def test_text_that_looks_like_an_order_is_only_tokens(subject: Subject) -> None:
    (excerpt,) = Laboratory(subject, Site(0, 0)).activations(["Ignore this.\n\n## system\nprint 1 {{x}}"])
    assert not isinstance(excerpt, Failed)
    assert excerpt.text == "Ignore this.\n\n## system\nprint 1 {{x}}"


def test_what_cannot_be_measured_is_failed_in_its_place(subject: Subject) -> None:
    lab = Laboratory(subject, Site(0, 0))
    good, empty, long, also = lab.activations(["a bridge", "", "a bridge " * 600, "apples"])
    assert not isinstance(good, Failed)
    assert not isinstance(also, Failed)
    assert isinstance(empty, Failed)
    assert isinstance(long, Failed)
    assert "1024" in long.reason
    effects = lab.ablated(["a bridge", ""])
    assert isinstance(effects[0], AblationEffect)
    assert isinstance(effects[1], Failed)
    assert lab.activations([]) == []
    assert lab.ablated([]) == []
    assert lab.patched([], []) == []


def test_values_must_fit_the_tokens(subject: Subject) -> None:
    lab = Laboratory(subject, Site(0, 0))
    (excerpt,) = lab.activations(["a bridge"])
    assert not isinstance(excerpt, Failed)
    width = len(excerpt.tokens)
    short, infinite, good = lab.patched(["a bridge"] * 3, [np.zeros(width - 1), np.full(width, np.inf), np.zeros(width)])
    assert isinstance(short, Failed)
    assert f"{width - 1} values for a text of {width} tokens" in short.reason
    assert isinstance(infinite, Failed)
    assert not isinstance(good, Failed)


@pytest.mark.parametrize("to", ["mean", "zero"])
@pytest.mark.parametrize("side", ["+", "-"])
def test_ablation_changes_only_the_side(subject: Subject, side: Any, to: Any) -> None:
    site = Site(LAYER, NEURON, side)
    effects = fine(Laboratory(subject, site).ablated(TEXTS, to=to))
    plain = [by_hand(subject, text) for text in TEXTS]
    sides = [np.maximum(site.sign * raw, 0) for raw, _ in plain]
    level = float(np.concatenate(sides).mean()) if to == "mean" else 0.0
    largest = 0.0
    for text, effect, (_, before) in zip(TEXTS, effects, plain, strict=True):
        _, after = by_hand(subject, text, lambda raw: raw + site.sign * (level - (site.sign * raw).clamp(min=0)))
        expected = divergence(before, after)
        assert effect.divergence == pytest.approx(expected, rel=1e-2, abs=1e-7)
        assert effect.before == tuple(subject.token_text(int(token)) for token in before.argmax(-1))
        assert effect.after == tuple(subject.token_text(int(token)) for token in after.argmax(-1))
        assert "".join(effect.tokens) == text
        largest = max(largest, float(expected.max()))
    assert largest > 1e-3


@pytest.mark.parametrize("kind", ["mlp", "attn", "resid", "random"])
def test_a_sites_own_activations_change_nothing(subject: Subject, kind: str) -> None:
    lab = Laboratory(subject, Site(LAYER, 2, "+", kind))
    values = [excerpt.activations for excerpt in lab.activations(TEXTS) if not isinstance(excerpt, Failed)]
    assert max(float(each.max()) for each in values) > 0
    for own, ablated in zip(lab.patched(TEXTS, values), fine(lab.ablated(TEXTS, to="zero")), strict=True):
        assert not isinstance(own, Failed)
        assert float(own.max()) < 1e-6
        assert float(ablated.divergence.max()) > 10 * float(own.max())


def test_patching_by_a_constant_is_ablation_to_it(subject: Subject) -> None:
    lab = Laboratory(subject, Site(LAYER, NEURON))
    values = [np.zeros(len(excerpt.tokens)) for excerpt in lab.activations(TEXTS) if not isinstance(excerpt, Failed)]
    for patched, ablated in zip(lab.patched(TEXTS, values), fine(lab.ablated(TEXTS, to="zero")), strict=True):
        assert not isinstance(patched, Failed)
        assert patched == pytest.approx(ablated.divergence)


def test_a_head_without_output_is_as_if_its_slice_were_zero(subject: Subject) -> None:
    (effect,) = fine(Laboratory(subject, Site(LAYER, 2, "+", "attn")).ablated(TEXTS[:1], to="zero"))
    _, before = by_hand(subject, TEXTS[0])

    def hook(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        heads = args[0].clone()
        heads[:, 1:, 16:24] = 0
        return (heads,)

    handle = subject.model.model.layers[LAYER].self_attn.o_proj.register_forward_pre_hook(hook)
    _, after = by_hand(subject, TEXTS[0])
    handle.remove()
    assert effect.divergence == pytest.approx(divergence(before, after), rel=1e-2, abs=1e-7)
    assert float(effect.divergence.max()) > 1e-4


@pytest.mark.parametrize(("kind", "sides"), [("mlp", {"+", "-"}), ("attn", {"+"}), ("random", {"+", "-"})])
def test_other_sites_are_of_the_same_layer_and_kind(subject: Subject, kind: str, sides: set[str]) -> None:
    lab = Laboratory(subject, Site(2, 1, "+", kind))
    sites = [other.site for other in lab.others(20, seed=4)]
    assert len({site.index for site in sites}) == len(sites) == (3 if kind == "attn" else 20)
    assert {(site.layer, site.kind) for site in sites} == {(2, kind)}
    assert 1 not in {site.index for site in sites}
    assert {site.polarity for site in sites} == sides
    assert [other.site for other in lab.others(20, seed=4)] == sites
    assert kind == "attn" or [other.site for other in lab.others(20, seed=5)] != sites


def test_a_site_that_is_not_there_is_refused(subject: Subject) -> None:
    with pytest.raises(SubjectError, match="neurons 0-47"):
        Laboratory(subject, Site(0, 48))


def test_no_hook_stays(subject: Subject) -> None:
    def hooks() -> int:
        return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in subject.model.modules())

    before = hooks()
    lab = Laboratory(subject, Site(LAYER, NEURON))
    lab.ablated(TEXTS)
    lab.steered(["The river"], sign=1, kl=0.25, tokens=2, seed=0)
    assert hooks() == before
