"""The value of a continuation against reading one token after the other, one text at a time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.errors import SubjectError
from analyzers.padding import like_lengths
from analyzers.saliency.value import likeliest, values_of
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

PROMPTS = [(11, 70, 90), (40,), (11, 70, 90, 40, 12, 13, 14), (90, 90), (7, 300, 12)]


def made(model: Any, tokenizer: Any) -> TextModel:
    return TextModel(model.requires_grad_(False), tokenizer, name="tiny", identity={})


def one_by_one(model: TextModel, ids: tuple[int, ...], target: tuple[int, ...]) -> float:
    total, read = 0.0, list(ids)
    for token in target:
        with torch.no_grad():
            logits = model.model(input_ids=torch.tensor([read])).logits[0, -1].double()
        total += float(logits[token] - logits.exp().sum().log())
        read.append(token)
    return total


@pytest.mark.parametrize("target", [(30,), (30, 12), (5, 5, 200, 31)])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_neox", "opt", "bloom", "falcon", "gpt_neo"])
def test_values_are_those_of_one_token_after_the_other(
    family: str, target: tuple[int, ...], tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(*tiny_model(family))
    expected = [one_by_one(model, ids, target) for ids in PROMPTS]
    assert np.ptp(expected) > 0.1
    found = values_of(model, PROMPTS, target)
    assert (found.dtype, found.shape) == (np.float64, (5,))
    assert found == pytest.approx(expected, abs=1e-4)
    # Two texts at a time at most.
    monkeypatch.setattr(like_lengths, "__defaults__", (2 * (6 + len(target)),))
    told: list[tuple[int, int]] = []
    assert values_of(model, PROMPTS, target, report=lambda _what, done, of: told.append((done, of))) == pytest.approx(expected, abs=1e-4)
    assert len(told) > 1
    assert told[-1] == (5, 5)


def test_values_in_bfloat16_are_near(tiny_model: Tiny) -> None:
    exact = values_of(made(*tiny_model("llama")), PROMPTS, (30, 12))
    net, tokenizer = tiny_model("llama")
    found = values_of(made(net.to(torch.bfloat16), tokenizer), PROMPTS, (30, 12))
    assert (found != exact).all()
    assert found == pytest.approx(exact, abs=0.3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=12), min_size=1, max_size=6), st.integers(1, 3))
def test_a_linear_model_has_its_closed_form(linear_model: TextModel, prompts: list[list[int]], length: int) -> None:
    # Other tokens than 1 share all probability.
    net = linear_model.model
    given_to = (net.words.weight @ net.weights).tolist()

    def expected(read: list[int]) -> float:
        distances = range(len(read) - 1, -1, -1)
        return float(sum(given_to[token] * net.steps**far for token, far in zip(read, distances, strict=True))) - 60 - math.log(11)

    known = [sum(expected([*ids, *[1] * behind]) for behind in range(length)) for ids in prompts]
    assert values_of(linear_model, prompts, [1] * length) == pytest.approx(known, rel=1e-6)


def test_a_prompt_without_tokens_is_read_as_the_beginning_of_a_text(tiny_model: Tiny) -> None:
    model = made(*tiny_model("llama"))
    bos = model.tokenizer.bos_token_id
    found = values_of(model, [(), (bos,), (11, 70)], (30, 12))
    assert found[0] == pytest.approx(one_by_one(model, (bos,), (30, 12)), abs=1e-4)
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0] != pytest.approx(found[2], abs=1e-2)


def test_nothing_cannot_be_read_where_no_token_begins_a_text(tiny_model: Tiny) -> None:
    model = made(*tiny_model("llama"))
    model.tokenizer.bos_token = None
    end = model.tokenizer.eos_token_id
    assert values_of(model, [()], (30,))[0] == pytest.approx(one_by_one(model, (end,), (30,)), abs=1e-4)
    model.tokenizer.eos_token = None
    assert np.isfinite(values_of(model, [(11,)], (30,))).all()
    with pytest.raises(SubjectError, match=r"no token that begins or ends a text.*--method occlusion"):
        values_of(model, [(11,), ()], (30,))


def test_what_has_no_value_is_refused(tiny_model: Tiny) -> None:
    model = made(*tiny_model("llama", max_position_embeddings=8))
    assert np.isfinite(values_of(model, [range(6)], (1, 2))).all()
    with pytest.raises(SubjectError, match=r"the text is 9 tokens, .* and tiny takes 8; shorten it"):
        values_of(model, [(1,), range(7)], (1, 2))
    with pytest.raises(ValueError, match="each of at least one token"):
        values_of(model, [(1,)], ())
    with pytest.raises(
        SubjectError, match=r"'tiny' is an encoder, .* its tokenizer has no mask; choose a model of masked or of causal language"
    ):
        values_of(made(*tiny_model("bert")), [(1,)], (1,))
    net, tokenizer = tiny_model("llama")
    with pytest.raises(SubjectError, match="'tiny' has no head for language"):
        values_of(made(net.model, tokenizer), [(1,)], (1,))
    broken = made(net, tokenizer)
    net.lm_head.weight[3] = float("inf")
    with pytest.raises(SubjectError, match="'tiny' gives a text no finite probability in float32"):
        values_of(broken, [(1,)], (1,))


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "bloom"])
def test_what_a_model_would_write_is_the_likeliest_token_each_time(family: str, tiny_model: Tiny) -> None:
    model = made(*tiny_model(family))
    for ids in PROMPTS:
        read, value = list(ids), 0.0
        for _ in range(3):
            with torch.no_grad():
                chances = model.model(input_ids=torch.tensor([read])).logits[0, -1].double().log_softmax(-1)
            value += float(chances.max())
            read.append(int(chances.argmax()))
        found, chance = likeliest(model, ids, 3)
        assert list(found) == read[len(ids) :]
        assert chance == pytest.approx(value, abs=1e-4)
        # It is the value of that continuation, and a longer one has no more than its beginning.
        assert values_of(model, [ids], found)[0] == pytest.approx(chance, abs=1e-4)
        assert chance <= likeliest(model, ids, 1)[1] + 1e-6
