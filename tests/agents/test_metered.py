"""What stands around every call: nothing is asked twice, limits keep what was answered, failures are typed."""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.budget import Budget, Estimate, estimate
from agents.cache import ReplyCache, request_key
from agents.llm import (
    LLM,
    Capability,
    Chat,
    ChatReply,
    Choice,
    ChoiceReply,
    Message,
    Readout,
    ReadoutReply,
    Reply,
    Request,
    TokenLogprob,
    Tool,
    ToolChat,
    ToolReply,
    Turn,
    Usage,
    WrittenCall,
)
from agents.metered import PATIENCE, Metered
from agents.prices import Price
from agents.providers.local import LocalLLM
from agents.providers.scripted import Answer, ScriptedLLM
from agents.retry import ATTEMPTS, Transient
from agents.transcript import CallRecord
from analyzers.errors import Failed, LimitReached, ProviderError


def chat(text: str, **changes: Any) -> Chat:
    return Chat(messages=(Message(role="user", content=text),), max_tokens=5, **changes)


def choice(text: str, *options: str) -> Choice:
    return Choice(messages=(Message(role="user", content=text), Message(role="assistant", content="Answer:")), options=options)


def said(outcomes: Sequence[Reply | Failed]) -> list[str]:
    return [
        outcome.reason if isinstance(outcome, Failed) else outcome.text for outcome in outcomes if isinstance(outcome, Failed | ChatReply)
    ]


def bare(outcome: Reply | Failed) -> Reply:
    """Without what it took."""
    assert not isinstance(outcome, Failed)
    return outcome.model_copy(update={"usage": Usage()})


def echo(request: Request) -> str:
    return f"re {request.messages[-1].content}" if request.kind == "chat" else ""


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[ReplyCache]:
    with ReplyCache(tmp_path / "replies.sqlite") as made:
        yield made


class Waits:
    """Stands for asyncio.sleep between tries."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def metered(base: LLM, cache: ReplyCache | None = None, **changes: Any) -> Metered:
    given: dict[str, Any] = {"budget": Budget(), "cache": cache, "price": Price(1.0, 2.0), "sleep": Waits()} | changes
    if isinstance(given.get("batch"), int):
        given["batch"] = dict.fromkeys(("chat", "readout", "choice"), given["batch"])
    return Metered(base, **given)


@given(batches=st.lists(st.lists(st.integers(0, 6), max_size=8), max_size=4), lanes=st.integers(1, 4), batch=st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_every_request_is_asked_once_and_answered_in_order(batches: list[list[int]], lanes: int, batch: int) -> None:
    """Batches under way at the same time, with requests in common within and between them."""
    base = ScriptedLLM(echo, seconds=0.0)
    budget = Budget()
    records: list[CallRecord] = []

    async def main() -> list[list[Reply | Failed]]:
        llm = metered(base, None, budget=budget, lanes=lanes, batch=batch, on_call=records.append)
        return await asyncio.gather(*(llm.answer([chat(str(n)) for n in numbers]) for numbers in batches))

    outcomes = asyncio.run(main())
    assert [said(each) for each in outcomes] == [[f"re {n}" for n in numbers] for numbers in batches]
    asked = [request.messages[-1].content for request in base.history if request.kind == "chat"]
    different = {n for numbers in batches for n in numbers}
    total = sum(map(len, batches))
    assert sorted(asked) == sorted(map(str, different))
    assert (budget.spent.made, budget.spent.cached) == (len(different), total - len(different))
    assert len(records) == total
    assert sum(record.cached for record in records) == budget.spent.cached
    assert sum(record.usage.prompt_tokens for record in records) == budget.spent.prompt_tokens


async def test_cached_equals_uncached_and_takes_nothing(cache: ReplyCache) -> None:
    requests: list[Request] = [chat("a"), chat("b", seed=1), chat("b", seed=2)]
    budget = Budget()
    first = await metered(ScriptedLLM(echo), cache, budget=budget).answer(requests)
    assert (budget.spent.made, budget.spent.cached) == (3, 0)
    assert budget.spent.usd == pytest.approx((budget.spent.prompt_tokens * 1.0 + budget.spent.completion_tokens * 2.0) / 1e6)
    silent = ScriptedLLM(echo)
    again_budget = Budget(max_calls=0, max_tokens=0, max_usd=0)
    again = await metered(silent, cache, budget=again_budget).answer(requests)
    assert [reply.model_copy(update={"usage": Usage()}) for reply in first if isinstance(reply, ChatReply)] == again
    assert silent.history == []
    assert (again_budget.spent.made, again_budget.spent.cached, again_budget.spent.tokens, again_budget.spent.usd) == (0, 3, 0, 0.0)


async def test_another_model_does_not_get_the_replies_of_this_one(cache: ReplyCache) -> None:
    await metered(ScriptedLLM(lambda request: "one", identity={"model": "one"}), cache).answer([chat("a")])
    other = metered(ScriptedLLM(lambda request: "two", identity={"model": "two"}), cache)
    assert said(await other.answer([chat("a")])) == ["two"]


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_a_limit_keeps_what_was_answered(cache: ReplyCache, batch: int) -> None:
    requests = [chat(str(n)) for n in range(10)]
    first = ScriptedLLM(echo)
    with pytest.raises(LimitReached, match="--max-calls 4"):
        await metered(first, cache, budget=Budget(max_calls=4), batch=batch).answer(requests)
    # Whole batches only.
    assert len(first.history) == 4 // batch * batch
    second = ScriptedLLM(echo)
    assert said(await metered(second, cache, batch=batch).answer(requests)) == [f"re {n}" for n in range(10)]
    assert len(second.history) == 10 - len(first.history)


async def test_the_replies_of_one_batch_are_kept_together(cache: ReplyCache) -> None:
    kept: list[int] = []
    llm = metered(ScriptedLLM(echo), cache, batch=3, on_call=lambda record: kept.append(len(cache)))
    await llm.answer([chat(str(n)) for n in range(7)])
    assert kept == [3, 3, 3, 6, 6, 6, 7]


async def test_what_is_handed_over_at_once_does_not_change_with_what_is_known(cache: ReplyCache) -> None:
    class Batches(ScriptedLLM):
        async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
            batches.append([echo(request) for request in requests])
            return await super().answer(requests)

    batches: list[list[str]] = []
    whole = [chat(str(n)) for n in range(9)]
    await metered(Batches(echo), None, batch=3).answer(whole)
    alone, batches = batches, []
    await metered(Batches(echo), cache, batch=3).answer([whole[4]])
    await metered(Batches(echo), cache, batch=3).answer(whole)
    assert batches == [["re 4"], alone[0], ["re 3", "re 5"], alone[2]]


async def test_a_model_of_this_machine_gives_the_same_bytes_when_a_stopped_run_goes_on(
    tiny_model: Callable[..., tuple[Any, Any]], tmp_path: Path
) -> None:
    """With a model whose last bits depend on what is computed at the same time, as those of real ones do."""
    for part in tiny_model("llama", hidden_size=256):
        part.save_pretrained(tmp_path / "model")
    draw = random.Random(0)
    words = ["", "the", "of", "and", "in", "river", "bridge", "town", "was", "he", "she", "by", "with", "from", "war"]
    requests: list[Request] = []
    for _ in range(20):
        pieces = tuple(piece for _ in range(draw.choice([5, 9, 12])) for piece in (f" {draw.choice(words)}", " ?"))
        after = tuple(range(0, len(pieces), 2))
        requests.append(Readout(prefix="Rate the words.\n" * 20, head="rivers", pieces=pieces, after=after, options=tuple("0123456789")))

    async def ask(name: str, budget: Budget) -> list[object]:
        with ReplyCache(tmp_path / name) as cache:
            llm = metered(LocalLLM(f"local:{tmp_path / 'model'}", dtype="float32", device="cpu"), cache, budget=budget, batch=8)
            async with llm:
                return [reply.logprobs for reply in await llm.answer(requests) if isinstance(reply, ReadoutReply)]

    calm = await ask("calm", Budget())
    with pytest.raises(LimitReached):
        await ask("stopped", Budget(max_calls=11))
    assert await ask("stopped", Budget()) == calm
    assert len(calm) == len(requests)


class Batches(ScriptedLLM):
    """Remembers what it was handed at once; a choice is answered by the length of its text."""

    def __init__(self) -> None:
        def answer(request: Request) -> Answer:
            if request.kind == "choice":
                return ChoiceReply(logprobs=(-float(len(request.messages[0].content)), -math.inf))
            return echo(request)

        super().__init__(answer, capabilities=frozenset({"chat", "choice"}))
        self.batches: list[list[str]] = []

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        self.batches.append([request.kind for request in requests])
        return await super().answer(requests)


@pytest.mark.parametrize("known", [[], [0, 3], [1, 2, 9], list(range(12))])
async def test_choices_and_chats_of_one_call_keep_their_order_and_go_in_batches_of_their_own(cache: ReplyCache, known: list[int]) -> None:
    requests: list[Request] = [choice("x" * n, " a", " b") if n % 3 else chat(str(n)) for n in range(12)]
    await metered(Batches(), cache).answer([requests[n] for n in known])
    base = Batches()
    outcomes = await metered(base, cache, batch={"choice": 3, "chat": 2}).answer([*requests, requests[4]])
    for n, outcome in enumerate(outcomes[:12]):
        assert bare(outcome) == (ChoiceReply(logprobs=(-float(n), -math.inf)) if n % 3 else ChatReply(text=f"re {n}"))
    assert outcomes[12] == bare(outcomes[4])
    chats, choices = ([n for n in range(12) if bool(n % 3) == is_choice] for is_choice in (False, True))
    cut = [*(chats[at : at + 2] for at in range(0, 4, 2)), *(choices[at : at + 3] for at in range(0, 8, 3))]
    expected = [[requests[n].kind for n in batch if n not in known] for batch in cut]
    assert base.batches == [batch for batch in expected if batch]


async def test_kinds_without_a_batch_are_handed_over_one_by_one() -> None:
    base = Batches()
    await metered(base, batch={"choice": 8}).answer([chat("a"), choice("a", " b"), chat("b"), choice("b", " b")])
    assert base.batches == [["chat"], ["chat"], ["choice", "choice"]]


async def test_a_model_without_choices_is_not_asked_for_one() -> None:
    base = ScriptedLLM(echo)
    with pytest.raises(ProviderError, match="cannot do what is asked of it \\(choice\\)"):
        await metered(base).answer([choice("a", " b")])
    assert base.history == []


@pytest.mark.parametrize("stop", ["calls", "tokens", "error", "cancelled"])
async def test_choices_give_the_same_bytes_when_a_stopped_run_goes_on(
    tiny_model: Callable[..., tuple[Any, Any]], tmp_path: Path, stop: str
) -> None:
    """With a model whose last bits depend on what is computed at the same time, stopped by a limit, a fault or from outside."""
    for part in tiny_model("llama", hidden_size=256):
        part.save_pretrained(tmp_path / "model")
    draw = random.Random(0)
    words = ["the", "of", "and", "in", "river", "bridge", "town", "was", "he", "she", "by", "with", "from", "war"]
    requests: list[Request] = []
    for number in range(24):
        text = " ".join(draw.choices(words, k=draw.choice([3, 9, 30])))
        requests.append(
            choice(f"Say what this is about. Text: {text}", " war", " the river", " the", *([" a town"] if number % 5 == 0 else []))
        )
    requests.insert(9, chat("hello"))

    class Stopping(LocalLLM):
        calls = 0

        async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
            self.calls += 1
            if self.calls == 3 and stop == "error":
                raise ProviderError("no power")
            if self.calls == 3 and stop == "cancelled":
                raise asyncio.CancelledError
            return await super().answer(requests)

    async def ask(name: str, budget: Budget, kind: type[LocalLLM] = LocalLLM) -> bytes:
        with ReplyCache(tmp_path / name) as cache:
            base = kind(f"local:{tmp_path / 'model'}", dtype="float32", device="cpu")
            async with metered(base, cache, budget=budget, batch={"choice": 5}) as llm:
                replies = await llm.answer(requests)
                return b"\n".join(bare(reply).model_dump_json().encode() for reply in replies)

    calm = await ask("calm", Budget())
    limited = {"calls": Budget(max_calls=12), "tokens": Budget(max_tokens=1200)}.get(stop, Budget())
    errors = {"error": ProviderError, "cancelled": asyncio.CancelledError}.get(stop, LimitReached)
    with pytest.raises(errors):
        await ask("stopped", limited, Stopping if stop in ("error", "cancelled") else LocalLLM)
    with ReplyCache(tmp_path / "stopped") as cache:
        kept = len(cache)
    assert 0 < kept < len(requests)
    again = Budget()
    assert await ask("stopped", again) == calm
    assert (again.spent.made, again.spent.cached) == (len(requests) - kept, kept)


async def test_a_probability_of_zero_is_kept_as_one(cache: ReplyCache) -> None:
    asked = [choice("abc", " a", " b")]
    first = await metered(Batches(), cache).answer(asked)
    silent = Batches()
    records: list[CallRecord] = []
    (again,) = await metered(silent, cache, on_call=records.append).answer(asked)
    assert isinstance(again, ChoiceReply)
    assert again.logprobs == (-3.0, -math.inf)
    assert isinstance(first[0], ChoiceReply)
    assert first[0].logprobs == again.logprobs
    assert silent.batches == []
    assert json.loads(json.dumps(records[0].line(), allow_nan=False))["kind"] == "choice"


async def test_a_budget_of_zero_asks_nothing() -> None:
    base = ScriptedLLM(echo)
    with pytest.raises(LimitReached):
        await metered(base, budget=Budget(max_calls=0)).answer([chat("a")])
    assert base.history == []


async def test_an_answer_that_took_more_than_allowed_is_kept_and_stops_the_run(cache: ReplyCache) -> None:
    long = ChatReply(text="long", usage=Usage(prompt_tokens=10_000))
    with pytest.raises(LimitReached, match="10000 tokens"):
        await metered(ScriptedLLM([long]), cache, budget=Budget(max_tokens=1000)).answer([chat("a")])
    assert said(await metered(ScriptedLLM([]), cache).answer([chat("a")])) == ["long"]


async def test_one_failure_leaves_the_others(cache: ReplyCache) -> None:
    base = ScriptedLLM(["one", Failed("ask", "no"), "three"])
    assert said(await metered(base, cache).answer([chat("1"), chat("2"), chat("3")])) == ["one", "no", "three"]
    # What failed was not an answer: it is asked again, and nothing else is.
    base = ScriptedLLM(["two"])
    assert said(await metered(base, cache).answer([chat("1"), chat("2"), chat("3")])) == ["one", "two", "three"]


async def test_a_stop_keeps_what_was_answered_and_asks_nothing_more(cache: ReplyCache) -> None:
    base = ScriptedLLM(["one", "two", ProviderError("wrong key"), "never", "never"])
    llm = metered(base, cache)
    with pytest.raises(ProviderError, match="wrong key"):
        await llm.answer([chat(str(n)) for n in range(5)])
    assert (len(base.history), len(cache)) == (3, 2)
    with pytest.raises(ProviderError, match="wrong key"):
        await llm.answer([chat("other")])
    assert len(base.history) == 3


async def test_transient_failures_are_bridged_and_counted_once() -> None:
    budget = Budget()
    waits = Waits()
    base = ScriptedLLM([Transient("429", retry_after=7.0), Transient("500"), "yes"])
    assert said(await metered(base, budget=budget, sleep=waits).answer([chat("a")])) == ["yes"]
    assert (budget.spent.made, len(base.history), waits.seconds[0]) == (1, 3, 7.0)


async def test_an_endpoint_that_stays_away_stops_the_run() -> None:
    base = ScriptedLLM(lambda request: Transient("'m' at http://x cannot be reached"))
    with pytest.raises(ProviderError, match=rf"'m' at http://x cannot be reached; given up after {ATTEMPTS} tries"):
        await metered(base).answer([chat("a"), chat("b")])
    assert len(base.history) == ATTEMPTS


async def test_a_request_that_never_succeeds_fails_alone_but_not_many_in_a_row() -> None:
    poisoned = Transient("500", about="request")
    base = ScriptedLLM(lambda request: poisoned if "bad" in echo(request) else echo(request))
    llm = metered(base)
    outcomes = await llm.answer([chat("a"), chat("bad"), chat("b")])
    assert said(outcomes) == ["re a", f"500; given up after {ATTEMPTS} tries", "re b"]
    # As long as others are answered in between, however many.
    mixed = await llm.answer([chat(f"{'bad' if n % 2 else 'good'} again {n}") for n in range(4 * PATIENCE)])
    assert sum(isinstance(outcome, Failed) for outcome in mixed) == 2 * PATIENCE
    with pytest.raises(ProviderError):
        await llm.answer([chat(f"bad {n}") for n in range(PATIENCE)])


async def test_a_short_outage_leaves_no_failure_behind(cache: ReplyCache) -> None:
    faults = [Transient("500", about="request")] * (ATTEMPTS * (PATIENCE - 1))
    base = ScriptedLLM(lambda request: faults.pop() if faults else echo(request))
    budget = Budget()
    assert said(await metered(base, cache, budget=budget).answer([chat(str(n)) for n in range(4)])) == [f"re {n}" for n in range(4)]
    assert (faults, len(cache)) == ([], 4)
    # One that fails for good is a failure all the same, and the next call is none the worse for it.
    dead = ScriptedLLM(lambda request: Transient("500", about="request") if "bad" in echo(request) else echo(request))
    llm = metered(dead, cache)
    for _ in range(PATIENCE):
        (bad, _good) = said(await llm.answer([chat("bad"), chat("good")]))
        assert bad == f"500; given up after {ATTEMPTS} tries"
        assert _good == "re good"
        cache._file.execute("DELETE FROM replies")


async def test_a_call_that_hangs_ends_at_the_deadline() -> None:
    base = ScriptedLLM(echo, seconds=60.0)
    outcomes = await metered(base, timeout=0.01).answer([chat("a")])
    assert "did not answer in 0.01 s" in said(outcomes)[0]
    # Given up, and asked once more at the end.
    assert len(base.history) == 2 * ATTEMPTS


async def test_tries_that_may_have_been_answered_count_against_the_limits() -> None:
    request = chat("a " * 100)
    one = estimate(request, Price(1.0, 2.0))
    for limits in ({"max_calls": 2}, {"max_tokens": 2 * one.tokens}, {"max_usd": 2 * one.usd}):
        base, budget = ScriptedLLM(echo, seconds=60.0), Budget(**limits)
        with pytest.raises(LimitReached):
            await metered(base, budget=budget, timeout=0.01).answer([request])
        assert len(base.history) == budget.spent.made == 2
        assert budget.spent.tokens == 2 * one.tokens
        assert budget.spent.usd == pytest.approx(2 * one.usd)
    garbled: list[Answer] = [Transient("no JSON", about="request", taken=True), Transient("500", about="request"), "yes"]
    base, budget = ScriptedLLM(garbled), Budget()
    assert said(await metered(base, budget=budget).answer([request])) == ["yes"]
    assert budget.spent.made == 2
    assert budget.fits(Estimate())


@pytest.mark.parametrize("lanes", [1, 3])
async def test_no_more_calls_at_once_than_lanes(lanes: int) -> None:
    now, most = 0, 0

    class Counting(ScriptedLLM):
        async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            try:
                return await super().answer(requests)
            finally:
                now -= 1

    llm = metered(Counting(echo), lanes=lanes)
    await asyncio.gather(*(llm.answer([chat(f"{a} {b}") for a in range(5)]) for b in range(3)))
    assert most == lanes


TOKEN = TokenLogprob(token="a", logprob=-0.1)
READOUT = Readout(prefix="", head="", pieces=("a", "b"), after=(0, 1), options=("0", "1"))


@pytest.mark.parametrize(
    ("request_", "reply", "reason"),
    [
        (chat("a", top_logprobs=5), ChatReply(text="7"), "missing logprobs"),
        (chat("a", top_logprobs=5), ChatReply(text="7", logprobs=()), "missing logprobs"),
        (chat("a", top_logprobs=5), ChatReply(text="7", logprobs=(TOKEN,)), None),
        (chat("a"), ChatReply(text="7"), None),
        (chat("a"), ChatReply(text="I cannot\nhelp", finish="refusal"), "refused: I cannot help"),
        (chat("a"), ChatReply(text="", finish="length"), "max_tokens"),
        (chat("a"), ChatReply(text="cut", finish="length"), None),
        (chat("a"), ChatReply(text="", finish="content_filter"), "content filter"),
        (READOUT, ReadoutReply(logprobs=((None, None), (None, None))), "missing logprobs"),
        (READOUT, ReadoutReply(logprobs=((None, None), (None, -1.0))), None),
    ],
)
async def test_a_reply_without_what_was_asked_for_is_a_failure_cached_or_not(
    cache: ReplyCache, request_: Request, reply: Reply, reason: str | None
) -> None:
    can: frozenset[Capability] = frozenset(["chat", "top_logprobs", "readout"])
    budget = Budget()
    for base in (ScriptedLLM([reply], capabilities=can), ScriptedLLM([], capabilities=can)):
        (outcome,) = await metered(base, cache, budget=budget).answer([request_])
        if reason is None:
            assert not isinstance(outcome, Failed)
        else:
            assert isinstance(outcome, Failed)
            assert reason in outcome.reason
    # It was paid for, once.
    assert (budget.spent.made, budget.spent.cached) == (1, 1)


@pytest.mark.parametrize(
    ("request_", "lacking"),
    [
        (READOUT, "readout"),
        (chat("a", top_logprobs=2), "top_logprobs"),
        (chat("a", json_schema={}), "json_schema"),
        (Chat(messages=(Message(role="assistant", content="The"),), max_tokens=5), "prefill"),
    ],
)
async def test_what_a_model_cannot_do_is_said_before_it_is_asked(request_: Request, lacking: str) -> None:
    base = ScriptedLLM([], capabilities=frozenset(["chat"]))
    with pytest.raises(ProviderError, match=rf"cannot do what is asked of it \({lacking}\); it offers chat"):
        await metered(base).answer([request_])


async def test_usage_that_is_not_reported_is_counted_at_its_upper_estimate() -> None:
    class Silent(ScriptedLLM):
        async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
            return [ChatReply(text="yes") for _ in requests]

    budget = Budget()
    await metered(Silent([]), budget=budget).answer([chat("a " * 100)])
    assert budget.spent.prompt_tokens >= 100
    assert budget.spent.completion_tokens == 5


async def test_a_cancelled_caller_leaves_no_hold_behind() -> None:
    budget = Budget(max_calls=1)
    llm = metered(ScriptedLLM(echo, seconds=0.01), budget=budget)
    caller = asyncio.create_task(llm.answer([chat("a")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    # The call under way goes on to its end; another caller gets its answer without a second call.
    assert said(await llm.answer([chat("a")])) == ["re a"]
    assert budget.spent.made == 1


async def test_half_a_character_becomes_a_question_mark_cached_or_not(cache: ReplyCache) -> None:
    token = TokenLogprob(token="\ud83d", logprob=-0.1, top=(("\ude00!", -0.2),))
    broken = ChatReply(text="a \ud83d", logprobs=(token,))
    cache.put(request_key(ScriptedLLM([]).identity, chat("kept before")), broken)
    llm = metered(ScriptedLLM([broken, Failed("ask", "no \ud83d")]), cache)
    *replies, failed = await llm.answer([chat("kept before"), chat("fresh"), chat("failed")])
    again = await llm.answer([chat("fresh")])
    for reply in (*replies, *again):
        assert isinstance(reply, ChatReply)
        assert reply.text == "a ?"
        assert reply.logprobs == (TokenLogprob(token="?", logprob=-0.1, top=(("?!", -0.2),)),)
    assert failed == Failed("ask", "no ?")


async def test_the_transcript_line_has_the_prompts_hash_and_no_prompt() -> None:
    records: list[CallRecord] = []
    await metered(ScriptedLLM(["yes", Failed("ask", "no")]), on_call=records.append).answer([chat("secret prompt"), chat("b")])
    line, failure = (record.line() for record in records)
    assert (line["reply"], line["failed"], line["cached"], line["kind"]) == ("yes", None, False, "chat")
    assert (failure["reply"], failure["failed"]) == (None, "no")
    assert line["prompt"] != failure["prompt"]
    assert "secret" not in str(line)
    assert line["usd"] == pytest.approx((line["prompt_tokens"] + 2 * line["completion_tokens"]) / 1e6)


async def test_conversations_with_tools_are_cached_and_kept_clean_of_keys(cache: ReplyCache) -> None:
    secret = "sk-test-0123456789"
    call = WrittenCall(id="a", name="measure", arguments=f'{{"texts": ["{secret}"]}}')
    reply = ToolReply(text=f"with {secret} \ud83d", tool_calls=(call,))
    tool = Tool(name="measure", description="Measure.", parameters={"type": "object", "properties": {}})
    request = ToolChat(messages=(Turn(role="user", content="go"),), tools=(tool,), max_tokens=5)
    records: list[CallRecord] = []
    base = ScriptedLLM([reply], capabilities=frozenset({"tools"}))
    llm = metered(base, cache, on_call=records.append, redact=lambda text: text.replace(secret, "[key]"))
    first, again = await llm.answer([request, request])
    assert (
        bare(first)
        == bare(again)
        == ToolReply(text="with [key] ?", tool_calls=(call.model_copy(update={"arguments": '{"texts": ["[key]"]}'}),))
    )
    assert len(base.history) == 1
    assert records[0].line()["reply"] == 'with [key] ?\nmeasure({"texts": ["[key]"]})'
    assert (records[0].line()["kind"], [record.cached for record in records]) == ("tools", [False, True])
    # Another tool, or another result, is another request.
    for changes in ({"tools": ()}, {"required": True}, {"messages": (*request.messages, Turn(role="tool", content="1", answers="a"))}):
        assert request_key(base.identity, request) != request_key(base.identity, request.model_copy(update=changes))


async def test_a_model_is_let_go_of() -> None:
    closed: list[str] = []

    class Sync(ScriptedLLM):
        def close(self) -> None:
            closed.append("sync")

    class Async(ScriptedLLM):
        async def close(self) -> None:
            closed.append("async")

    for base in (Sync([]), Async([]), ScriptedLLM([])):
        async with metered(base):
            pass
    assert closed == ["sync", "async"]


async def test_replies_under_way_are_kept_when_another_request_stops_the_run(cache: ReplyCache) -> None:
    class Slow(ScriptedLLM):
        async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
            if echo(requests[0]) == "re bad":
                raise ProviderError("no")
            await asyncio.sleep(0.05)
            return await super().answer(requests)

    base = Slow(echo)
    async with metered(base, cache, lanes=2) as llm:
        callers = [asyncio.create_task(llm.answer([chat(text)])) for text in ("slow", "bad", "never asked")]
        with pytest.raises(ProviderError, match="no"):
            await asyncio.gather(*callers)
        for caller in callers:
            caller.cancel()
    assert [echo(request) for request in base.history] == ["re slow"]
    again = metered(ScriptedLLM([]), cache)
    assert said(await again.answer([chat("slow")])) == ["re slow"]


async def test_a_reply_that_does_not_come_keeps_nobody_waiting_longer_than_the_deadline() -> None:
    class Away(ScriptedLLM):
        async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
            await asyncio.sleep(3600)
            raise AssertionError

    llm = metered(Away([]), timeout=0.05)
    caller = asyncio.create_task(llm.answer([chat("a")]))
    await asyncio.sleep(0)
    caller.cancel()
    await llm.close()
    with pytest.raises(ProviderError, match="is closed"):
        await llm.answer([chat("b")])
