"""The local provider: an LLM like the others, grouped and lazy, on tiny models and, where marked, on a real one."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agents.llm import LLM, Chat, ChatReply, Message, Readout, ReadoutReply, Reply, Request
from agents.providers.local import LocalLLM
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
    ]
    together = await llm.answer(requests)
    for request, reply in zip(requests, together, strict=True):
        (alone,) = await llm.answer([request])
        if isinstance(reply, ReadoutReply):
            assert isinstance(alone, ReadoutReply)
            assert isinstance(request, Readout)
            assert table(reply).shape == (2, len(request.options))
            np.testing.assert_allclose(table(reply), table(alone), atol=1e-5)
        else:
            assert isinstance(reply, ChatReply)
            assert reply.text
            assert without_usage(reply) == without_usage(alone)
            assert (reply.logprobs is not None) == (request == requests[1])
    assert together[4] != together[6]


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
