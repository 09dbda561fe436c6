"""Steering: the strength that a divergence asks for, the divergence computed anew, and what is written, without a cache."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import Failed
from analyzers.laboratory import Laboratory
from analyzers.sites import Site
from analyzers.steering import CLOSE, LARGEST, Steered, strength_for
from analyzers.subject import Subject

Model = Callable[..., tuple[Any, Any]]

PROMPTS = ["The river", "In the summer of", "There are markets on Mondays and"]
LAYER, NEURON = 1, 7


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def subject(request: pytest.FixtureRequest, tiny_model: Model) -> Subject:
    model, tokenizer = tiny_model(request.param)
    return Subject(model, tokenizer, name=request.param, identity={})


def by_hand(subject: Subject, ids: list[int], added: float) -> Any:
    """[pos, vocabulary] float64 log-probabilities with an amount added to the neuron behind the prefix."""

    def hook(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        neurons = args[0].clone()
        neurons[:, len(subject.prefix) :, NEURON] += added
        return (neurons,)

    handle = subject.projections[LAYER].register_forward_pre_hook(hook)
    with torch.inference_mode():
        logits = subject.model(input_ids=torch.tensor([ids])).logits[0].double()
    handle.remove()
    return logits.log_softmax(-1)


@given(st.floats(-18, 18), st.floats(0.3, 3), st.floats(1e-3, 10))
def test_the_strength_solves_any_power_law(scale: float, power: float, wanted: float) -> None:
    found = strength_for(lambda strength: (strength / 2**scale) ** power, wanted)
    solution = 2**scale * wanted ** (1 / power)
    if isinstance(found, Failed):
        assert solution > LARGEST or solution < 2 / LARGEST
        return
    strength, reached = found
    assert abs(reached - wanted) <= CLOSE * wanted
    assert strength == pytest.approx(solution, rel=2 * CLOSE / power)


@pytest.mark.parametrize(
    ("divergence", "reason"),
    [
        (lambda strength: 0.1 * strength / (1 + strength), "out of reach: 0.1 at"),
        (lambda strength: 0.3, "at a strength of only"),
        (lambda strength: 0.0 if strength < 3 else 1.0, "jumps over"),
        (lambda strength: math.nan, "not finite"),
        (lambda strength: 0.01 * strength if strength < 8 else math.nan, "not finite at a strength of 8"),
    ],
)
def test_a_divergence_that_is_not_reached_is_failed(divergence: Callable[[float], float], reason: str) -> None:
    found = strength_for(divergence, 0.25)
    assert isinstance(found, Failed)
    assert reason in found.reason


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("side", ["+", "-"])
def test_the_divergence_is_what_was_wanted(subject: Subject, side: Any, sign: Any) -> None:
    found = Laboratory(subject, Site(LAYER, NEURON, side)).steered(PROMPTS, sign=sign, kl=0.25, tokens=1, seed=0)
    assert isinstance(found, Steered)
    raw = found.strength if side == "+" else -found.strength
    assert (found.strength > 0) == (sign == 1)
    divergences = []
    for prompt in PROMPTS:
        ids = [*subject.prefix, *subject.encode(prompt)]
        plain, steered = (by_hand(subject, ids, added)[len(subject.prefix) :] for added in (0.0, raw))
        divergences += (steered.exp() * (steered - plain)).sum(-1).tolist()
    assert sum(divergences) / len(divergences) == pytest.approx(found.kl, rel=1e-3)
    assert found.kl == pytest.approx(0.25, rel=CLOSE)


def test_what_is_written_is_the_likeliest_under_the_strength(subject: Subject) -> None:
    lab = Laboratory(subject, Site(LAYER, NEURON))
    found = lab.steered(PROMPTS, sign=1, kl=0.5, tokens=8, temperature=0, seed=0)
    plain = lab.steered(PROMPTS, sign=1, kl=0, tokens=8, temperature=0, seed=0)
    assert isinstance(found, Steered)
    assert isinstance(plain, Steered)
    assert (plain.strength, plain.kl) == (0, 0)
    for steered, strength in ((found, found.strength), (plain, 0.0)):
        for prompt, text in zip(PROMPTS, steered.texts, strict=True):
            ids = [*subject.prefix, *subject.encode(prompt)]
            start = len(ids)
            while len(ids) < start + 8 and ids[-1] != subject.tokenizer.eos_token_id:
                ids.append(int(by_hand(subject, ids, strength)[-1].argmax()))
            assert text == subject.tokenizer.decode(ids[start:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert found.texts != plain.texts


def test_samples_hang_on_the_seed_alone(subject: Subject) -> None:
    lab = Laboratory(subject, Site(LAYER, NEURON))

    def texts(seed: int, samples: int = 3) -> tuple[tuple[str, ...], ...]:
        found = lab.steered(PROMPTS, sign=1, kl=0.25, tokens=6, seed=seed, samples=samples)
        assert isinstance(found, Steered)
        return found.samples

    first = texts(1)
    assert [len(sample) for sample in first] == [3, 3, 3]
    assert texts(1) == first
    assert len({text for sample in (*first, *texts(2)) for text in sample}) > 12


def test_prompts_that_do_not_fit_are_failed(subject: Subject) -> None:
    lab = Laboratory(subject, Site(LAYER, NEURON))
    assert isinstance(lab.steered(["The river", ""], sign=1, kl=0.25, seed=0), Failed)
    assert isinstance(lab.steered(["a bridge " * 600], sign=1, kl=0.25, seed=0), Failed)


def test_a_direction_that_the_output_does_not_see_cannot_be_steered(tiny_model: Model) -> None:
    model, tokenizer = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight[:, NEURON] = 0
    subject = Subject(model, tokenizer, name="llama", identity={})
    found = Laboratory(subject, Site(2, NEURON)).steered(PROMPTS, sign=1, kl=0.25, seed=0)
    assert isinstance(found, Failed)
    assert "out of reach" in found.reason
