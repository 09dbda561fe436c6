"""The local provider: an LLM like the others, grouped and lazy, on tiny models and, where marked, on a real one."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.llm import LLM, Chat, ChatReply, Choice, ChoiceReply, Message, Readout, ReadoutReply, Reply, Request
from agents.providers.local import LocalLLM, _apart
from analyzers.errors import AssetError, Failed, ProviderError
from analyzers.evidence import FloatArray

Checkpoint = Callable[[str], Path]
DIGITS = tuple("0123456789")


def readout(word: str, *, head: str = "Looks for rivers\n", options: tuple[str, ...] = DIGITS) -> Readout:
    pieces = ("The", "\t", "?\n", word, "\t", "?\n")
    return Readout(prefix="Rate the words from 0 to 9.\n" * 4, head=head, pieces=pieces, after=(1, 4), options=options)


def chat(text: str, *, seed: int = 0, temperature: float = 0.0, max_tokens: int = 6, top_logprobs: int = 0, prefill: str = "") -> Chat:
    messages = [Message(role="user", content=text)]
    if prefill:
        messages.append(Message(role="assistant", content=prefill))
    return Chat(messages=tuple(messages), max_tokens=max_tokens, temperature=temperature, seed=seed, top_logprobs=top_logprobs)


def choice(text: str, *options: str, system: str = "", lead: str = "Answer:") -> Choice:
    turns = [Message(role="system", content=system)] if system else []
    turns += [Message(role="user", content=text), *([Message(role="assistant", content=lead)] if lead else [])]
    return Choice(messages=tuple(turns), options=options)


@pytest.fixture
def llm(tiny_checkpoint: Checkpoint) -> LocalLLM:
    return LocalLLM(f"local:{tiny_checkpoint('qwen2')}", device="cpu", dtype="float32")


def loaded(llm: LocalLLM) -> bool:
    return llm._engine is not None


def without_usage(reply: Reply | Failed) -> object:
    assert not isinstance(reply, Failed)
    return reply.model_dump(exclude={"usage"})


def table(reply: ReadoutReply) -> FloatArray:
    return np.array(reply.logprobs, dtype=np.float32)


async def test_it_says_what_it_is_before_it_loads_anything(llm: LocalLLM, tiny_checkpoint: Checkpoint) -> None:
    assert isinstance(llm, LLM)
    assert llm.name == f"local:{tiny_checkpoint('qwen2')}"
    assert llm.identity["dtype"] == "float32"
    assert llm.identity["provider"] == "local"
    assert len(llm.identity["revision"]) >= 40
    assert "json_schema" not in llm.capabilities
    assert not loaded(llm)
    await llm.answer([readout(" river")])
    engine = llm._engine
    assert engine is not None
    for key in ("dtype", "revision", "source"):
        assert engine.identity[key] == llm.identity[key]


async def test_mixed_requests_come_back_in_order_as_if_asked_alone(llm: LocalLLM) -> None:
    requests: list[Request] = [
        readout(" river"),
        chat("Which river?", top_logprobs=2),
        readout(" bridge", head="Looks for bridges\n"),
        readout(" of", options=("0", "1")),
        chat("Which river?", seed=2, temperature=1.0),
        readout(" bridge"),
        chat("Which river?", seed=1, temperature=1.0),
        chat("And why?", prefill="Because"),
        choice("Which river?", " this", " that one"),
        choice("Which bridge?", " old", " new"),
        choice("Which town?", " this", " that one"),
    ]
    requests = [*requests[8:10], *requests[:8], *requests[10:]]
    together = await llm.answer(requests)
    for request, reply in zip(requests, together, strict=True):
        (alone,) = await llm.answer([request])
        if isinstance(reply, ReadoutReply):
            assert isinstance(alone, ReadoutReply)
            assert isinstance(request, Readout)
            assert table(reply).shape == (2, len(request.options))
            np.testing.assert_allclose(table(reply), table(alone), atol=1e-5)
        elif isinstance(reply, ChoiceReply):
            assert isinstance(request, Choice)
            assert isinstance(alone, ChoiceReply)
            assert reply.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
            assert len(reply.logprobs) == len(request.options)
        else:
            assert isinstance(reply, ChatReply)
            assert reply.text
            assert without_usage(reply) == without_usage(alone)
            assert (reply.logprobs is not None) == (isinstance(request, Chat) and request.top_logprobs > 0)
    assert together[6] != together[8]
    assert [type(reply) for reply in together[:3]] == [ChoiceReply, ChoiceReply, ReadoutReply]


async def test_a_loaded_model_is_freed_by_close_and_comes_back_when_asked(llm: LocalLLM) -> None:
    first = await llm.answer([readout(" river")])
    llm.close()
    assert not loaded(llm)
    assert await llm.answer([readout(" river")]) == first
    llm.close()
    llm.close()


async def test_usage_counts_what_was_computed(llm: LocalLLM) -> None:
    both = await llm.answer([readout(" river"), readout(" river")])
    again = await llm.answer([readout(" river")])
    first, second, third = (reply.usage for reply in [*both, *again] if not isinstance(reply, Failed))
    assert first.prompt_tokens > second.prompt_tokens == third.prompt_tokens > 0
    assert first.completion_tokens == first.usd == 0
    samples = await llm.answer([chat("Which river?", seed=seed, temperature=1.0) for seed in range(3)])
    usages = [reply.usage for reply in samples if not isinstance(reply, Failed)]
    assert usages[0].prompt_tokens > usages[1].prompt_tokens == usages[2].prompt_tokens == 0
    assert all(usage.completion_tokens > 0 for usage in usages)


async def test_the_event_loop_lives_while_the_model_computes(llm: LocalLLM) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(llm.answer([chat("Which river?", max_tokens=20, seed=seed, temperature=1.0)]) for seed in range(3)))
    ticking.cancel()
    assert ticks > 3


async def test_an_option_of_several_tokens_stops_with_its_name(llm: LocalLLM) -> None:
    with pytest.raises(ProviderError, match="'10'"):
        await llm.answer([readout(" river", options=("1", "10"))])


async def test_a_schema_is_refused(llm: LocalLLM) -> None:
    with pytest.raises(ProviderError, match="JSON schema"):
        await llm.answer([chat("Which?").model_copy(update={"json_schema": {"type": "object"}})])


async def test_a_prompt_that_is_too_long_fails_alone(llm: LocalLLM) -> None:
    short, long, read = await llm.answer([chat("Which river?"), chat("river " * 2000), readout(" river" * 2000)])
    assert isinstance(short, ChatReply)
    assert isinstance(long, Failed)
    assert isinstance(read, Failed)


async def test_a_model_that_does_not_exist_is_named() -> None:
    with pytest.raises(AssetError, match="no-such-folder"):
        await LocalLLM("local:./no-such-folder").answer([readout(" river")])


async def test_no_requests_load_nothing(llm: LocalLLM) -> None:
    assert await llm.answer([]) == []
    assert not loaded(llm)


# ---- choices


def conversation(request: Choice, *, template: bool) -> str:
    """As the tiny chat template writes it, or one turn below the other."""
    if not template:
        return "\n".join(message.content for message in request.messages)
    closed = "".join(f"<|{message.role}|>{message.content}</s>" for message in request.messages)
    return closed.removesuffix("</s>") if request.messages[-1].role == "assistant" else closed + "<|assistant|>"


@torch.inference_mode()
def naive(llm: LocalLLM, text: str, options: Sequence[str]) -> list[float]:
    """[option] log-probability of all its tokens after the text, by one forward pass each."""
    engine = llm._engine
    assert engine is not None
    found = []
    for option in options:
        prompt, said = [*engine.tokens.start, *engine.tokens.encode(text)], engine.tokens.encode(option)
        logprobs = torch.log_softmax(engine.model(torch.tensor([prompt + said])).logits[0].float(), -1)
        found.append(sum(float(logprobs[len(prompt) - 1 + at, token]) for at, token in enumerate(said)))
    return found


def without_template(checkpoint: Path, folder: Path) -> Path:
    """The same model, which was never taught to follow instructions."""
    for path in checkpoint.iterdir():
        if path.name != "chat_template.jinja":
            text = path.read_bytes()
            (folder / path.name).write_bytes(text)
    return folder


@pytest.mark.parametrize("template", [True, False], ids=["chat template", "none"])
async def test_a_choice_is_what_a_forward_pass_over_the_conversation_gives(
    tiny_checkpoint: Checkpoint, tmp_path: Path, template: bool
) -> None:
    folder = tiny_checkpoint("llama") if template else without_template(tiny_checkpoint("llama"), tmp_path)
    llm = LocalLLM(f"local:{folder}", device="cpu", dtype="float32")
    options = (" positive", " very negative", " 好", "7", " the old bridge of stone and iron")
    requests = [
        choice("Is the town old?", *options),
        choice("Is the river old?", *options),
        choice("Is it?", *options, system="Be brief."),
        choice("Is it?", *options, lead=""),
        choice("Is the river old?", *options, lead="Thoughts: it rises in the hills.\nAnswer:"),
    ]
    replies = await llm.answer(requests)
    assert llm._engine is not None
    assert bool(llm._engine.tokenizer.chat_template) == template
    for request, reply in zip(requests, replies, strict=True):
        assert isinstance(reply, ChoiceReply)
        assert reply.logprobs == pytest.approx(naive(llm, conversation(request, template=template), options), abs=1e-3)


async def test_options_that_begin_each_other_are_apart(llm: LocalLLM) -> None:
    await llm.answer([choice("What is it?", " the")])
    engine = llm._engine
    assert engine is not None
    # What is likely enough behind " the" for its share to be seen.
    (the,) = engine.tokens.encode(" the")
    single = [text for text in map(engine.tokenizer.decode, range(256, 500)) if engine.tokens.encode(f" the{text}")[:1] == [the]]
    chances = naive(llm, conversation(choice("What is it?", " the"), template=True), [f" the{text}" for text in single])
    first, second = (single[at] for at in np.argsort(chances)[:-3:-1])
    options = (" the", f" the{first}", f" the{first} town", f" the{second}", " of")
    request = choice("What is it?", *options)
    (reply,) = await llm.answer([request])
    assert isinstance(reply, ChoiceReply)
    the_, one, longer, two, of = map(math.exp, naive(llm, conversation(request, template=True), options))
    assert one + two > 0.01 * the_
    assert [math.exp(value) for value in reply.logprobs] == pytest.approx([the_ - one - two, one - longer, longer, two, of], rel=1e-3)
    # The same in any order, and beside options that no other begins with.
    (other,) = await llm.answer([choice("What is it?", *options[::-1])])
    assert isinstance(other, ChoiceReply)
    assert other.logprobs[::-1] == pytest.approx(reply.logprobs, abs=1e-4)
    (alone,) = await llm.answer([choice("What is it?", " the")])
    assert isinstance(alone, ChoiceReply)
    assert math.exp(alone.logprobs[0]) == pytest.approx(the_, rel=1e-3)


async def test_all_that_can_be_written_has_a_probability_of_one(llm: LocalLLM) -> None:
    """Every token of the vocabulary that is a text by itself, and continuations of some: no sum beyond 1, and near it."""
    await llm.answer([choice("What is it?", " the")])
    engine = llm._engine
    assert engine is not None
    texts = {engine.tokenizer.decode([token]): token for token in range(engine.model.config.vocab_size)}
    single = [text for text, token in texts.items() if engine.tokens.encode(text) == [token]]
    assert len(single) > 250
    longer = [f" the{text}" for text in single if engine.tokens.encode(f" the{text}")[:1] == engine.tokens.encode(" the")]
    (plain, more) = await llm.answer([choice("What is it?", *single), choice("What is it?", *single, *longer)])
    assert isinstance(plain, ChoiceReply)
    assert isinstance(more, ChoiceReply)
    whole, split = (sum(map(math.exp, reply.logprobs)) for reply in (plain, more))
    assert 0.5 < whole <= 1 + 1e-4
    assert split == pytest.approx(whole, abs=1e-4)


IDS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple), min_size=1, max_size=8, unique=True)


@given(IDS, st.lists(st.floats(0.01, 1), min_size=9, max_size=9), st.sampled_from([0.0, -5.0, -900.0]))
def test_apart_is_what_no_longer_option_has(options: list[tuple[int, ...]], weights: list[float], offset: float) -> None:
    """Against sums over all texts of four tokens; in a tree with probabilities of 1 / 3 times weights, however small they are."""
    rows = np.array([[sum(math.log(weights[token + 3 * (at % 3)] / 3) for at, token in enumerate(option)) + offset for option in options]])
    found = _apart(rows, options)[0]
    for number, option in enumerate(options):
        longer = [other for other in options if len(other) > len(option) and other[: len(option)] == option]
        nearest = [other for other in longer if not any(len(o) < len(other) and other[: len(o)] == o for o in longer)]
        left = 1 - sum(math.exp(rows[0][options.index(other)] - rows[0][number]) for other in nearest)
        if left > 1e-9:
            assert found[number] == pytest.approx(rows[0][number] + math.log(left), abs=1e-6)
        else:
            assert found[number] < rows[0][number] - 15


def test_rounding_leaves_nothing_rather_than_less() -> None:
    assert _apart(np.array([[-1.0, -1.0 + 1e-12, -3.0]]), [(1,), (1, 2), (3,)]).tolist() == [[-math.inf, -1.0 + 1e-12, -3.0]]
    assert _apart(np.array([[-1.0, -1.0, -1.0]]), [(1,), (1, 2), (1, 2, 3)]).tolist() == [[-math.inf, -math.inf, -1.0]]


async def test_choices_take_about_the_tokens_that_are_computed(llm: LocalLLM) -> None:
    await llm.answer([readout(" river")])
    engine = llm._engine
    assert engine is not None
    computed = 0
    forward = engine.model.base_model.forward

    def counting(*args: object, **inputs: torch.Tensor) -> object:
        nonlocal computed
        computed += inputs["input_ids"].shape[1]
        return forward(*args, **inputs)

    engine.model.base_model.forward = counting
    requests = [choice(f"Is {word} in the valley, where the river rises, old?", " yes", " not at all") for word in "abcdefghijk"]
    replies = await llm.answer(requests)
    usages = [reply.usage for reply in replies if isinstance(reply, ChoiceReply)]
    assert len(usages) == len(requests)
    assert len({usage.prompt_tokens for usage in usages}) == 1
    assert computed <= sum(usage.prompt_tokens for usage in usages) < computed + len(requests)
    assert all(usage.completion_tokens == 0 == usage.usd for usage in usages)
    # Even of what is all but known.
    (again,) = await llm.answer(requests[:1])
    assert isinstance(again, ChoiceReply)
    assert again.usage.prompt_tokens > 0


async def test_a_choice_that_is_too_long_fails_alone(llm: LocalLLM) -> None:
    short, long, empty, other = await llm.answer(
        [choice("Which?", " a"), choice("river " * 2000, " a"), choice("Which?", ""), choice("And which?", " a")]
    )
    assert isinstance(short, ChoiceReply)
    assert isinstance(other, ChoiceReply)
    assert isinstance(long, Failed)
    assert "tokens are more than" in long.reason
    assert isinstance(empty, Failed)


@pytest.mark.slow
async def test_a_real_model_knows_a_river_and_counts() -> None:
    llm = LocalLLM("local:qwen2.5-coder-0.5b")
    (reply,) = await llm.answer([chat("What is the capital of France? Answer with one word.", max_tokens=5, top_logprobs=3)])
    assert isinstance(reply, ChatReply)
    assert "Paris" in reply.text
    assert reply.logprobs is not None
    assert len(reply.logprobs[0].top) == 3
    (read,) = await llm.answer(
        [Readout(prefix="1 2 3 4 5 6 7 8 9\n" * 3, head="1 2 3", pieces=(" 4", " ", "?", " 6", " "), after=(1, 4), options=DIGITS)]
    )
    assert isinstance(read, ReadoutReply)
    assert math.isclose(sum(math.exp(value) for value in read.logprobs[0] if value is not None), 1, abs_tol=1e-5)
    assert table(read).argmax(axis=1).tolist() == [5, 7]
    llm.close()
