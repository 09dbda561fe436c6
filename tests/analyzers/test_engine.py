"""The engine against full prompts run one at a time without any cache, and against greedy decoding by hand."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.engine import Engine, Reading
from analyzers.errors import Failed, ProviderError, SubjectError
from analyzers.generating import Generated
from analyzers.mixed import widen

Checkpoint = Callable[[str], Path]
TinyModel = Callable[..., tuple[Any, Any]]

PREFIX = "<|system|>Rate every word from 0 to 9.</s>" + "The river\t0\nrises\t7\nin the hills\t3\n" * 5
HEAD = "Looks for: names of rivers\n"
OPTIONS = tuple("0123456789")
EXCERPTS = [["The", " river", " rises"], [" in", " 1927", " the", " old", " bridge"], ["x"], [" markets", " on", " Mondays"] * 4]
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "phi", "gpt2", "gpt_neox", "opt", "bloom", "falcon", "gptj", "gpt_neo"]


def engine_of(built: tuple[Any, Any]) -> Engine:
    model, tokenizer = built
    return Engine(model, tokenizer, name="tiny", identity={"source": "code"})


def item_of(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """word, tab | ?, newline: read after every tab."""
    pieces = tuple(piece for word in words for piece in (word, "\t", "?", "\n"))
    return pieces, tuple(range(1, len(pieces), 4))


ITEMS = [item_of(words) for words in EXCERPTS]


def naive(engine: Engine, prefix: str, head: str, item: tuple[Sequence[str], Sequence[int]]) -> np.ndarray[Any, Any]:
    """The whole prompt in one pass, all logits, log-softmax over the options."""
    encode = engine.tokenizer.encode
    ids = [token for text in (prefix, head) for token in encode(text, add_special_tokens=False)]
    columns = [encode(option, add_special_tokens=False)[0] for option in OPTIONS]
    places = []
    for number, piece in enumerate(item[0]):
        ids += encode(piece, add_special_tokens=False)
        if number in item[1]:
            places.append(len(ids) - 1)
    with torch.no_grad():
        logits = engine.model(torch.tensor([ids]), use_cache=False).logits[0, places][:, columns]
    return torch.log_softmax(logits.double(), dim=-1).numpy()


def readings(outcomes: Sequence[Reading | Failed]) -> list[Reading]:
    assert all(isinstance(outcome, Reading) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Reading)]


@pytest.mark.parametrize("family", FAMILIES)
def test_readouts_equal_full_prompts_without_cache(family: str, tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model(family))
    for _ in range(2):
        for item, got in zip(ITEMS, readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS)), strict=True):
            expected = naive(engine, PREFIX, HEAD, item)
            assert np.ptp(expected) > 0.5
            np.testing.assert_allclose(got.logprobs, expected, atol=2e-5)
            np.testing.assert_allclose(np.exp(got.logprobs).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("family", "changes"), [("gemma2", {"final_logit_softcapping": 0.5}), ("mistral", {"sliding_window": 5})])
def test_readouts_keep_to_soft_caps_and_sliding_windows(family: str, changes: dict[str, Any], tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model(family, **changes))
    plain = engine_of(tiny_model(family))
    for item, got, other in zip(
        ITEMS, readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS)), readings(plain.readouts(PREFIX, HEAD, ITEMS, OPTIONS)), strict=True
    ):
        np.testing.assert_allclose(got.logprobs, naive(engine, PREFIX, HEAD, item), atol=2e-5)
        assert np.abs(got.logprobs - other.logprobs).max() > 0.01


def test_batched_equals_single_and_other_heads_do_not_disturb(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    together = readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS))
    engine.readouts(PREFIX, "Looks for: digits\n", ITEMS[:2], OPTIONS)
    for item, batched in zip(ITEMS, together, strict=True):
        (single,) = readings(engine.readouts(PREFIX, HEAD, [item], OPTIONS))
        np.testing.assert_allclose(single.logprobs, batched.logprobs, atol=1e-5)


def test_many_items_are_run_in_bounded_batches(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(tiny_model("llama"))
    expected = readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS))
    monkeypatch.setattr("analyzers.engine.BATCH_TOKENS", 64)
    sizes: list[int] = []
    handle = engine.model.register_forward_pre_hook(lambda _m, _a, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True)
    got = readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS))
    handle.remove()
    assert len(sizes) > 1
    assert max(sizes) <= 64
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)


def test_what_is_shared_is_computed_and_counted_once(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    forwarded: list[int] = []
    handle = engine.model.base_model.register_forward_pre_hook(
        lambda _m, _a, kwargs: forwarded.append(int(kwargs["input_ids"].numel())), with_kwargs=True
    )
    encode = engine.tokens.encode
    own = [sum(len(encode(piece)) for piece in pieces) for pieces, _ in ITEMS]
    shared = len(encode(PREFIX)) + len(encode(HEAD))
    first = [reading.prompt_tokens for reading in readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS))]
    assert sum(first) == shared + sum(own)
    assert sum(forwarded) == shared + len(ITEMS) * max(own)
    forwarded.clear()
    assert [reading.prompt_tokens for reading in readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS))] == own
    assert sum(forwarded) == len(ITEMS) * max(own)
    other = "Looks for: digits\n"
    assert sum(reading.prompt_tokens for reading in readings(engine.readouts(PREFIX, other, ITEMS, OPTIONS))) == sum(own) + len(
        encode(other)
    )
    handle.remove()


def test_results_do_not_depend_on_what_was_asked_before(tiny_model: TinyModel) -> None:
    long = "Visitors who walk along the water in the evening may see herons. " * 8
    asked_before = engine_of(tiny_model("llama"))
    asked_before.generate(long + "And then", max_tokens=3)
    asked_before.readouts(long, HEAD, ITEMS, OPTIONS)
    fresh = engine_of(tiny_model("llama"))
    one, other = (engine.generate(long + "But", max_tokens=5, top_logprobs=3) for engine in (asked_before, fresh))
    assert isinstance(one, list)
    assert isinstance(other, list)
    assert one[0].tokens == other[0].tokens
    assert one[0].prompt_tokens < other[0].prompt_tokens
    pairs = [readings(engine.readouts(long, "Head", ITEMS, OPTIONS)) for engine in (asked_before, fresh)]
    for left, right in zip(*pairs, strict=True):
        np.testing.assert_array_equal(left.logprobs, right.logprobs)


def test_an_option_of_several_tokens_is_named(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    with pytest.raises(ProviderError, match="'10' is 2 tokens"):
        engine.readouts(PREFIX, HEAD, ITEMS, ("1", "10"))


def test_a_text_that_is_too_long_fails_alone(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama", max_position_embeddings=300))
    shared = len(engine.tokens.encode(PREFIX)) + len(engine.tokens.encode(HEAD))
    assert shared < 280
    fine, long, after = engine.readouts(PREFIX, HEAD, [ITEMS[2], item_of([" x"] * 90), ITEMS[2]], OPTIONS)
    assert isinstance(fine, Reading)
    assert isinstance(after, Reading)
    assert isinstance(long, Failed)
    assert "300" in long.reason
    assert isinstance(engine.generate("x y z " * 300, max_tokens=3), Failed)


def test_no_place_to_read_at_is_a_failure(tiny_model: TinyModel) -> None:
    (outcome,) = engine_of(tiny_model("llama")).readouts(PREFIX, HEAD, [(("", "a"), (0,))], OPTIONS)
    assert isinstance(outcome, Failed)


def test_readouts_leave_the_model_as_it_was(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("gpt2"))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = engine.model(ids).logits
        engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS)
        torch.testing.assert_close(engine.model(ids).logits, before, rtol=0, atol=0)


def generated(outcome: list[Generated] | Failed) -> list[Generated]:
    assert isinstance(outcome, list)
    return outcome


def greedy(engine: Engine, text: str, steps: int) -> list[int]:
    ids: list[int] = engine.tokenizer.encode(text, add_special_tokens=False)
    length = len(ids)
    with torch.no_grad():
        for _ in range(steps):
            ids.append(int(engine.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == engine.tokenizer.eos_token_id:
                break
    return ids[length:]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_full_prompts_without_cache(family: str, tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model(family))
    for text in ("The river", PREFIX, PREFIX + " rises", "x"):
        (got,) = generated(engine.generate(text, max_tokens=6))
        expected = greedy(engine, text, 6)
        assert got.text == engine.tokens.decode(expected, special=False)
        assert got.completion_tokens == len(expected)
        assert got.finish == ("stop" if expected[-1] == engine.tokenizer.eos_token_id else "length")


def test_log_probabilities_are_those_of_the_whole_vocabulary(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    (got,) = generated(engine.generate("The river", max_tokens=4, top_logprobs=5))
    ids = engine.tokenizer.encode("The river", add_special_tokens=False)
    for token, chosen in zip(got.tokens, greedy(engine, "The river", 4), strict=True):
        with torch.no_grad():
            logprobs = torch.log_softmax(engine.model(torch.tensor([ids])).logits[0, -1], dim=-1)
        assert token.logprob == pytest.approx(float(logprobs[chosen]), abs=1e-5)
        best = torch.topk(logprobs, 5)
        assert [name for name, _ in token.top] == [engine.tokens.text(index) for index in best.indices.tolist()]
        np.testing.assert_allclose([value for _, value in token.top], best.values, atol=1e-5)
        ids.append(chosen)


def test_samples_depend_on_their_own_seed_alone(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    together = generated(engine.generate("The river", max_tokens=8, temperature=1.5, seeds=(3, 4, 5, 3)))
    alone = [generated(engine.generate("The river", max_tokens=8, temperature=1.5, seeds=(seed,)))[0] for seed in (3, 4, 5, 3)]
    assert [sample.text for sample in together] == [sample.text for sample in alone]
    assert together[0].text == together[3].text
    assert len({sample.text for sample in together}) == 3


def test_draws_follow_the_probabilities(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    temperature = 2.0
    with torch.no_grad():
        logits = engine.model(torch.tensor([engine.tokenizer.encode("The river", add_special_tokens=False)])).logits[0, -1]
    probability, index = torch.softmax(logits / temperature, dim=-1).max(dim=-1)
    n = 2000
    samples = generated(engine.generate("The river", max_tokens=1, temperature=temperature, seeds=range(n), top_logprobs=1))
    share = sum(sample.tokens[:1] != () and sample.tokens[0].text == engine.tokens.text(int(index)) for sample in samples) / n
    assert abs(share - float(probability)) < 4 * math.sqrt(float(probability) * (1 - float(probability)) / n)


def test_greedy_samples_are_one_text_computed_once(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    first, second = generated(engine.generate("The river", max_tokens=5, seeds=(1, 2)))
    assert first.text == second.text
    assert (second.prompt_tokens, second.completion_tokens) == (0, 0)
    assert first.prompt_tokens == len(engine.tokens.encode("The river"))


def test_a_stop_text_ends_and_is_cut_off(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    (free,) = generated(engine.generate("The river", max_tokens=12))
    at = len(free.text) // 2
    stop = free.text[at : at + 2]
    (stopped,) = generated(engine.generate("The river", max_tokens=12, stop=("never there", stop)))
    assert stopped.text == free.text[: free.text.find(stop)]
    assert stopped.finish == "stop"
    assert stopped.completion_tokens < free.completion_tokens


def test_the_end_token_ends_a_text_and_is_not_in_it(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    first = greedy(engine, "The river", 3)
    engine._ends = {first[2]}
    (got,) = generated(engine.generate("The river", max_tokens=12))
    assert got.text == engine.tokens.decode(first[:2])
    assert (got.finish, got.completion_tokens) == ("stop", 3)


def test_messages_go_through_the_chat_template_and_a_last_assistant_turn_is_continued(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    question = {"role": "user", "content": "Which river?"}
    begun = {"role": "assistant", "content": "The river"}
    pairs = [
        ([question], "<|user|>Which river?</s><|assistant|>"),
        ([question, begun], "<|user|>Which river?</s><|assistant|>The river"),
    ]
    for messages, text in pairs:
        assert generated(engine.generate(messages, max_tokens=4))[0].text == generated(engine.generate(text, max_tokens=4))[0].text


def test_messages_to_a_model_without_a_chat_template_are_refused(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    engine.tokenizer.chat_template = None
    with pytest.raises(ProviderError, match="no chat template"):
        engine.generate([{"role": "user", "content": "x"}], max_tokens=1)


def test_what_a_system_says_opens_the_users_turn_where_the_template_knows_no_system(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    known = engine.tokenizer.chat_template
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    engine.tokenizer.chat_template = refusal + known
    system, question = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which river?"}
    begun, why = {"role": "assistant", "content": "The river"}, {"role": "user", "content": "Why?"}
    pairs = [
        ([question], "<|user|>Which river?</s><|assistant|>"),
        ([system, question], "<|user|>Be brief.\n\nWhich river?</s><|assistant|>"),
        ([system, question, begun, why], "<|user|>Be brief.\n\nWhich river?</s><|assistant|>The river</s><|user|>Why?</s><|assistant|>"),
        ([system], "<|user|>Be brief.</s><|assistant|>"),
    ]
    for messages, text in pairs:
        assert engine.written(messages) == text
    assert system == {"role": "system", "content": "Be brief."}
    engine.tokenizer.chat_template = known
    assert engine.written([system, question]) == "<|system|>Be brief.</s><|user|>Which river?</s><|assistant|>"


def test_a_template_that_refuses_a_conversation_is_one_plain_line(tiny_model: TinyModel) -> None:
    engine = engine_of(tiny_model("llama"))
    for template in ("{{ raise_exception('roles must\nalternate') }}", "{% if %}"):
        engine.tokenizer.chat_template = template
        for messages in ([{"role": "user", "content": "x"}], [{"role": "system", "content": "x"}]):
            with pytest.raises(ProviderError, match="chat template of 'tiny' refuses") as caught:
                engine.generate(messages, max_tokens=1)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2", "falcon", "gemma2"])
def test_mixed_computes_what_float32_does_with_the_same_weights(family: str, tiny_model: TinyModel) -> None:
    model, tokenizer = tiny_model(family)
    wide = engine_of((copy.deepcopy(model).bfloat16().float(), tokenizer))
    model.bfloat16()
    kept = {name: parameter.data_ptr() for name, parameter in model.named_parameters() if parameter.ndim == 2 and family != "gpt2"}
    widen(model)
    mixed = engine_of((model, tokenizer))
    assert all(model.get_parameter(name).data_ptr() == place for name, place in kept.items())
    assert all(parameter.dtype == torch.bfloat16 for name, parameter in model.named_parameters() if name in kept)
    pairs = zip(*(readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS)) for engine in (mixed, wide)), strict=True)
    for left, right in pairs:
        # Gemma scales its embeddings, and rounds the product as a bfloat16 model does.
        np.testing.assert_allclose(left.logprobs, right.logprobs, atol=0.02 if family == "gemma2" else 2e-5)
    (left_text,), (right_text,) = (generated(engine.generate(PREFIX, max_tokens=4, top_logprobs=1)) for engine in (mixed, wide))
    for one, other in zip(left_text.tokens, right_text.tokens, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=0.1)


def test_an_engine_of_bfloat16_weights_is_mixed_on_a_cpu_that_is_slow_at_them(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny_model("llama")
    model.bfloat16().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    for fast, expected in ((False, "mixed"), (True, "bfloat16")):
        monkeypatch.setattr("analyzers.loading.has_fast_bfloat16", lambda device, fast=fast: fast)
        assert Engine.load(str(tmp_path), device="cpu").identity["dtype"] == expected
    with pytest.raises(SubjectError, match=r"'float8'.*mixed"):
        Engine.load(str(tmp_path), device="cpu", dtype="float8")


def test_an_engine_is_loaded_by_folder(tiny_checkpoint: Checkpoint) -> None:
    engine = Engine.load(str(tiny_checkpoint("qwen2")), dtype="float32", device="cpu")
    assert engine.identity["dtype"] == "float32"
    assert engine.identity["source"] == "path"
    assert len(readings(engine.readouts(PREFIX, HEAD, ITEMS, OPTIONS))) == len(ITEMS)
