"""Answers read off trees of texts, against every text computed alone; on all families, also those that no tree fits."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.answers import Answers, Continuations
from analyzers.engine import Engine
from analyzers.errors import Failed

WORDS = ["the", "food", "was", "cold", "but", "the", "staff", "were", "lovely", "and", "the", "wine", "was", "good"]
TEXTS = ["a review of the day : " * 4 + " ".join(WORDS[:at] + WORDS[at + 1 :]) + " answer :" for at in range(len(WORDS))]
ANSWERS = ("good", " very bad", "cold")
TREES = ("llama", "qwen2", "qwen3", "phi", "gpt2", "gpt_neox", "opt", "falcon", "gptj")
ALONE = ("mistral", "gemma2", "bloom", "gpt_neo")
"""The tiny ones have a window shorter than a row, or positions that come from the mask."""


@torch.inference_mode()
def naive(engine: Engine, texts: Sequence[str], answers: Sequence[str]) -> Any:
    """[text, answer] one whole forward pass each."""
    found = []
    for text in texts:
        prompt = [*engine.tokens.start, *engine.tokens.encode(text)]
        for answer in answers:
            said = engine.tokens.encode(answer)
            logprobs = torch.log_softmax(engine.model(torch.tensor([prompt + said])).logits[0].float(), -1)
            found.append(sum(float(logprobs[len(prompt) - 1 + at, token]) for at, token in enumerate(said)))
    return np.array(found).reshape(len(texts), len(answers))


@pytest.fixture
def engine(tiny_model: Callable[..., tuple[Any, Any]]) -> Callable[..., Engine]:
    def build(family: str) -> Engine:
        model, tokenizer = tiny_model(family)
        return Engine(model, tokenizer, name=family, identity={})

    return build


@pytest.mark.parametrize("family", [*TREES, *ALONE])
def test_equal_to_every_text_alone(engine: Callable[..., Engine], family: str) -> None:
    tiny = engine(family)
    found = Answers(tiny).after(TEXTS, ANSWERS)
    assert isinstance(found, Continuations)
    assert np.abs(found.logprobs - naive(tiny, TEXTS, ANSWERS)).max() < 1e-4
    lengths = sum(len(tiny.tokens.encode(text)) for text in TEXTS)
    # As trees they cost much less than one by one; else each of them costs its length.
    assert (found.prompt_tokens < 0.65 * lengths) == (family in TREES)


def test_a_second_call_computes_neither_the_shared_beginning_nor_the_check_again(engine: Callable[..., Engine]) -> None:
    answers = Answers(engine("llama"))
    first, second = answers.after(TEXTS, ANSWERS), answers.after(TEXTS, ANSWERS)
    assert isinstance(first, Continuations)
    assert isinstance(second, Continuations)
    assert second.prompt_tokens < first.prompt_tokens - 64
    assert np.array_equal(first.logprobs, second.logprobs)


def test_a_row_has_a_bound_and_what_is_in_several_rows_is_the_same(engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = engine("qwen2")
    whole = Answers(tiny).after(TEXTS, ANSWERS)
    monkeypatch.setattr("analyzers.answers.ROW_TOKENS", 60)
    cut = Answers(tiny).after(TEXTS, ANSWERS)
    assert isinstance(whole, Continuations)
    assert isinstance(cut, Continuations)
    assert cut.prompt_tokens > whole.prompt_tokens
    assert np.abs(whole.logprobs - cut.logprobs).max() < 1e-5


def test_one_text_and_equal_texts(engine: Callable[..., Engine]) -> None:
    tiny = engine("llama")
    found = Answers(tiny).after([TEXTS[0], TEXTS[0]], ["good"])
    assert isinstance(found, Continuations)
    assert found.logprobs == pytest.approx(naive(tiny, [TEXTS[0]] * 2, ["good"]), abs=1e-5)


def test_a_start_that_the_text_has_already_is_not_put_before_it_again(
    engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chat templates of some families write the BOS themselves."""
    tiny = engine("llama")
    bos = tiny.tokens.encode("the")[0]
    monkeypatch.setattr(type(tiny.tokens), "start", property(lambda _: (bos,)))
    once, twice = (Answers(tiny).after([text], ["good"]) for text in ("the food was", " food was"))
    assert isinstance(once, Continuations)
    assert isinstance(twice, Continuations)
    assert once.logprobs == pytest.approx(twice.logprobs, abs=1e-5)


def test_what_is_no_number_is_failed(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    import copy

    model, tokenizer = tiny_model("llama")
    broken = copy.deepcopy(model)
    broken.get_input_embeddings().weight.data.fill_(float("nan"))
    found = Answers(Engine(broken, tokenizer, name="broken", identity={})).after(TEXTS[:3], ["good"])
    assert found == Failed("readout", "broken gave no finite probabilities")


def test_the_head_is_as_it_was_afterwards(engine: Callable[..., Engine]) -> None:
    tiny = engine("llama")
    head = tiny.model.get_output_embeddings()
    before = head.forward
    Answers(tiny).after(TEXTS[:2], ["good"])
    assert head.forward == before


def test_what_cannot_be_read_is_failed(engine: Callable[..., Engine]) -> None:
    tiny = engine("llama")
    assert isinstance(Answers(tiny).after(TEXTS, [""]), Failed)
    assert isinstance(Answers(tiny).after([], ["good"]), Failed)
    long = Answers(tiny).after(["word " * 5000], ["good"])
    assert isinstance(long, Failed)
    assert "more than the 1024" in long.reason


def test_in_bfloat16_the_answers_are_read_in_float32(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    import copy

    model, tokenizer = tiny_model("llama")
    half = Engine(copy.deepcopy(model).bfloat16(), tokenizer, name="half", identity={})
    found = Answers(half).after(TEXTS, ANSWERS)
    assert isinstance(found, Continuations)
    # bfloat16 has steps of 2^-6 at the size of these figures; what is read in float32 lies between them.
    steps = found.logprobs * 2**6
    assert np.abs(steps - np.round(steps)).max() > 1e-3
    assert np.abs(found.logprobs - naive(Engine(model, tokenizer, name="whole", identity={}), TEXTS, ANSWERS)).max() < 1


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_in_bfloat16_every_answer_is_the_float32_head_on_a_hidden_state(tiny_model: Callable[..., tuple[Any, Any]], family: str) -> None:
    """Of trees, and of texts one by one."""
    model, tokenizer = tiny_model(family)
    half = Engine(model.bfloat16(), tokenizer, name="half", identity={})
    hidden: list[torch.Tensor] = []
    handle = model.base_model.register_forward_hook(lambda _module, _args, output: hidden.append(output.last_hidden_state[0]))
    answers = (" the", "g")
    found = Answers(half).after(TEXTS, answers)
    handle.remove()
    assert isinstance(found, Continuations)
    tokens = [token for answer in answers for token in tokenizer.encode(answer, add_special_tokens=False)]
    assert len(tokens) == len(answers)
    states = torch.cat(hidden)
    assert states.dtype == torch.bfloat16
    weight = model.get_output_embeddings().weight.detach()
    wide = torch.log_softmax(states.float() @ weight.float().T, -1)[:, tokens].double().numpy()
    narrow = torch.log_softmax((states @ weight.T).float(), -1)[:, tokens].double().numpy()

    def furthest(read: Any) -> float:
        """Of the answers after a text, to those at the nearest place; the largest over the texts."""
        return float(np.abs(found.logprobs[:, None] - read[None]).max(axis=2).min(axis=1).max())

    assert furthest(wide) < 1e-4
    assert furthest(narrow) > 1e-3
