"""Accounts and limits: nothing goes beyond a limit, and what fits goes through."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.budget import Budget, Estimate, Forecast, estimate
from agents.llm import Chat, Choice, Message, Readout, Request, Tool, ToolCall, ToolChat, Turn, Usage
from agents.metered import Metered
from agents.prices import FREE, Price, listed_price
from agents.providers.local import LocalLLM
from analyzers.errors import ExplicateError, LimitReached, ProviderError

PRICE = Price(1.0, 10.0)
CHAT = Chat(messages=(Message(role="user", content="What is the capital?"),), max_tokens=50)


def budget_of(price: Price | None = PRICE, **limits: Any) -> Budget:
    budget = Budget(**limits)
    budget.admit("m", price)
    return budget


async def test_the_limit_on_calls_is_exact() -> None:
    budget = budget_of(max_calls=3)
    for _ in range(3):
        await budget.reserve(Estimate(1))
        budget.book("m", Estimate(1), Usage(prompt_tokens=5), 2.0)
    with pytest.raises(LimitReached, match=r"--max-calls 3 is reached.*3 calls, 15 tokens"):
        await budget.reserve(Estimate(1))
    assert (budget.spent.made, budget.spent.prompt_tokens, budget.spent.seconds) == (3, 15, 6.0)


@pytest.mark.parametrize("limits", [{"max_calls": 0}, {"max_tokens": 0}, {"max_usd": 0}])
async def test_a_budget_of_zero_stops_before_the_first_call(limits: dict[str, Any]) -> None:
    budget = budget_of(**limits)
    with pytest.raises(LimitReached, match="is reached"):
        await budget.reserve(Estimate(1, 10, 10, PRICE.usd(10, 10)))
    assert budget.spent.made == 0


async def test_no_money_still_buys_what_is_free() -> None:
    await budget_of(FREE, max_usd=0).reserve(Estimate(1, 10, 10, 0.0))


@pytest.mark.parametrize("limits", [{"max_calls": -1}, {"max_tokens": -5}, {"max_usd": float("nan")}, {"max_usd": float("inf")}])
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ExplicateError, match="0 or more"):
        budget_of(**limits)


calls = st.lists(
    st.tuples(st.integers(1, 500), st.integers(1, 500), st.floats(0, 1), st.floats(0, 1)),
    max_size=30,
)


@given(
    calls=calls,
    max_calls=st.none() | st.integers(0, 20),
    max_tokens=st.none() | st.integers(0, 5000),
    max_usd=st.none() | st.floats(0, 0.02),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_calls_at_once_never_go_beyond_a_limit_and_stop_only_at_one(
    calls: list[tuple[int, int, float, float]], max_calls: int | None, max_tokens: int | None, max_usd: float | None, seed: int
) -> None:
    """Calls that take at most their estimate; the limits are checked against sums made here."""
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    budget.admit("m", PRICE)
    done: list[Usage] = []
    refused: list[Estimate] = []
    rng = random.Random(seed)

    async def call(prompt: int, completion: int, share: float, other: float) -> None:
        expected = Estimate(1, prompt, completion, PRICE.usd(prompt, completion))
        try:
            await budget.reserve(expected)
        except LimitReached:
            refused.append(expected)
            return
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        used = (int(prompt * share), int(completion * other))
        usage = Usage(prompt_tokens=used[0], completion_tokens=used[1], usd=PRICE.usd(*used))
        budget.book("m", expected, usage, 0.1)
        done.append(usage)

    async def main() -> None:
        await asyncio.gather(*(call(*one) for one in calls))

    asyncio.run(main())
    spent = (len(done), sum(u.prompt_tokens + u.completion_tokens for u in done), sum(u.usd for u in done))
    assert budget.spent.made == spent[0]
    assert budget.spent.tokens == spent[1]
    assert budget.spent.usd == pytest.approx(spent[2])
    assert all(limit is None or value <= limit + 1e-9 for value, limit in zip(spent, (max_calls, max_tokens, max_usd), strict=True))
    assert len(done) + len(refused) == len(calls)
    if refused:
        with pytest.raises(LimitReached):
            budget.check()
        # The first one that was refused did not fit beside what had been taken, with nothing else under way.
        expected = refused[0]
        after = (spent[0] + 1, spent[1] + expected.tokens, spent[2] + expected.usd)
        assert any(limit is not None and value > limit for value, limit in zip(after, (max_calls, max_tokens, max_usd), strict=True))


async def test_an_estimate_that_does_not_fit_beside_a_call_under_way_waits_for_it() -> None:
    budget = budget_of(max_tokens=100)
    first = Estimate(1, 80, 0)
    await budget.reserve(first)
    second = asyncio.create_task(budget.reserve(Estimate(1, 60, 0)))
    await asyncio.sleep(0)
    assert not second.done()
    budget.book("m", first, Usage(prompt_tokens=40), 0.1)
    await second


async def test_what_is_held_together_is_held_whole_or_not_at_all() -> None:
    budget = budget_of(max_calls=3)
    await budget.reserve(Estimate(1), Estimate(1))
    waiting = asyncio.create_task(budget.reserve(Estimate(1), Estimate(1)))
    await asyncio.sleep(0)
    assert budget.fits(Estimate(1))
    budget.book("m", Estimate(1), Usage(), 0.1)
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.release(Estimate(1))
    await waiting
    with pytest.raises(LimitReached, match="it could be 4 calls"):
        await budget.reserve(Estimate(1), Estimate(1), Estimate(1))


async def test_more_than_was_estimated_is_noticed_afterwards() -> None:
    budget = budget_of(max_tokens=100)
    await budget.reserve(Estimate(1, 50, 0))
    budget.check()
    budget.book("m", Estimate(1, 50, 0), Usage(prompt_tokens=101), 0.1)
    with pytest.raises(LimitReached, match="101 tokens"):
        budget.check()


async def test_a_released_hold_took_nothing() -> None:
    budget = budget_of(max_calls=1)
    await budget.reserve(Estimate(1))
    budget.release(Estimate(1))
    await budget.reserve(Estimate(1))
    assert budget.spent.made == 0


def test_an_unknown_price_is_said_and_forbids_a_limit_in_money() -> None:
    with pytest.raises(ProviderError, match=r"'m'.*--price IN,OUT"):
        budget_of(None, max_usd=1)
    budget = budget_of(None)
    assert list(budget.unpriced) == ["m"]
    assert not budget_of().unpriced
    assert budget.forecast("m", [CHAT]).usd is None


def test_two_models_share_limits_and_are_told_apart() -> None:
    budget = budget_of()
    budget.admit("n", FREE)
    for name, tokens in (("m", 5), ("n", 7), ("n", 1)):
        asyncio.run(budget.reserve(Estimate(1)))
        budget.book(name, Estimate(1), Usage(prompt_tokens=tokens), 0.5)
    budget.book_cached("m")
    assert (budget.spent.made, budget.spent.cached, budget.spent.tokens) == (3, 1, 13)
    by_model = budget.by_model()
    assert {name: (spent.made, spent.cached, spent.tokens) for name, spent in by_model.items()} == {"m": (1, 1, 5), "n": (2, 0, 8)}


def test_a_forecast_is_money_and_time() -> None:
    budget = Budget()
    budget.admit("m", Price(0.25, 2.0), lanes=4, hidden_tokens=150)
    first = budget.forecast("m", [CHAT] * 1000)
    prompt = estimate(CHAT, None).prompt_tokens * 1000
    assert first == Forecast(1000, prompt, 200_000, first.usd, None)
    assert first.usd == pytest.approx((0.25 * prompt + 2.0 * 200_000) / 1e6)
    asyncio.run(budget.reserve(Estimate(1)))
    budget.book("m", Estimate(1), Usage(), 3.0)
    assert budget.forecast("m", [CHAT] * 1000).seconds == 1000 * 3.0 / 4
    total = Forecast(1, 2, 3, 4.0, 5.0) + Forecast(10, 20, 30, 40.0, 50.0)
    assert total == Forecast(11, 22, 33, 44.0, 55.0)
    assert (total + first).seconds is None


@pytest.mark.parametrize("shares", [False, True])
def test_a_forecast_counts_what_is_computed_once_for_all_once(shares: bool) -> None:
    budget = Budget()
    budget.admit("m", FREE, shares=shares)
    readout = Readout(prefix="of the valley " * 20, head="the word", pieces=(" a", " b"), after=(1,), options=("0",))
    other = readout.model_copy(update={"prefix": "of the town " * 30})
    one, two = (estimate(request, None).prompt_tokens for request in (readout, other))
    alone = estimate(readout.model_copy(update={"prefix": ""}), None).prompt_tokens
    found = budget.forecast("m", [readout, other, readout, readout])
    assert (found.calls, found.prompt_tokens) == (4, one + two + 2 * (alone if shares else one))


def choice(text: str, *options: str) -> Choice:
    turns = (
        Message(role="user", content=f"Which label fits? Answer with one word.\n\nText: {text}"),
        Message(role="assistant", content="Answer:"),
    )
    return Choice(messages=turns, options=options)


def leaving_out(text: str, *options: str) -> list[Request]:
    """The text, and the text without each of its words."""
    words = text.split()
    return [choice(" ".join(words), *options), *(choice(" ".join(words[:at] + words[at + 1 :]), *options) for at in range(len(words)))]


def test_an_estimate_of_a_choice_counts_all_that_is_sent() -> None:
    text = "the river rises in the hills " * 10
    one, more = estimate(choice(text, " yes"), PRICE), estimate(choice(text, " yes", " not at all, whatever is said"), PRICE)
    assert one.prompt_tokens >= 2 * len(text.split())
    assert more.prompt_tokens - one.prompt_tokens == len(" not at all, whatever is said") // 2 + 1
    assert one.completion_tokens == 1
    assert one.usd == PRICE.usd(one.prompt_tokens, 1)


def test_a_forecast_of_choices_counts_what_they_begin_with_once() -> None:
    asked = leaving_out("the old bridge was carried away by a flood", " yes", " no")
    alone = sum(estimate(request, None).prompt_tokens for request in asked)
    found = {}
    for shares in (False, True):
        budget = Budget()
        budget.admit("m", FREE, shares=shares)
        found[shares] = budget.forecast("m", [*asked, CHAT])
    chat = estimate(CHAT, None)
    assert (found[False].calls, found[False].prompt_tokens) == (len(asked) + 1, alone + chat.prompt_tokens)
    # All but the first of them save at most what stands before the text, and no less than half of it.
    before = len("Which label fits? Answer with one word.\n\nText: ") // 2
    saved = found[False].prompt_tokens - found[True].prompt_tokens
    assert (len(asked) - 1) * before / 2 - 4 * estimate(asked[0], None).prompt_tokens < saved <= (len(asked) - 1) * (before + 1)
    assert found[True].calls == found[False].calls
    # Questions that begin otherwise share nothing, and cost what each costs.
    other = [Choice(messages=(Message(role="user", content=f"{at} {'x' * at}"),), options=(" a",)) for at in range(1, 6)]
    budget = Budget()
    budget.admit("m", FREE, shares=True)
    assert budget.forecast("m", other).prompt_tokens >= sum(estimate(request, None).prompt_tokens for request in other)


SENTENCE = "There are markets on Mondays and Thursdays, where farmers sell cheese, apples, honey and wool."


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["The river rises."], (" yes", " no")),
        ([SENTENCE], (" yes", " no")),
        ([SENTENCE], (" positive", " negative", " neutral", " none of these")),
        ([SENTENCE, "the old bridge was carried away by a flood", "In 1930 it was opened; it stands to this day."], (" yes", " no")),
        ([f"{SENTENCE} In the summer of 1927 the old bridge was carried away by a flood. {SENTENCE}"], (" yes", " no")),
    ],
)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
async def test_a_forecast_of_choices_is_no_less_than_what_is_computed(
    tiny_checkpoint: Callable[[str], Path], texts: Sequence[str], options: tuple[str, ...], family: str
) -> None:
    requests = [request for text in texts for request in leaving_out(text, *options)]
    budget = Budget()
    base = LocalLLM(f"local:{tiny_checkpoint(family)}", device="cpu", dtype="float32")
    async with Metered(base, budget=budget, cache=None, price=FREE, batch={"choice": 256}, shares=True) as llm:
        expected = budget.forecast(llm.name, requests)
        await llm.answer(requests)
    assert budget.spent.made == expected.calls == len(requests)
    assert len(requests) <= budget.spent.prompt_tokens <= expected.prompt_tokens
    # And it is an estimate: not many times as much.
    assert expected.prompt_tokens < 6 * budget.spent.prompt_tokens


@pytest.mark.parametrize(("limits", "named"), [({"max_calls": 9}, "--max-calls 9"), ({"max_tokens": 1000}, "--max-tokens 1000")])
async def test_limits_stop_choices(tiny_checkpoint: Callable[[str], Path], limits: dict[str, int], named: str) -> None:
    budget = Budget(**limits)
    base = LocalLLM(f"local:{tiny_checkpoint('llama')}", device="cpu", dtype="float32")
    async with Metered(base, budget=budget, cache=None, price=FREE, batch={"choice": 4}, shares=True) as llm:
        with pytest.raises(LimitReached, match=named):
            await llm.answer(leaving_out(SENTENCE, " yes", " no"))
    assert 0 < budget.spent.made < len(SENTENCE.split()) + 1
    assert 0 < budget.spent.tokens <= limits.get("max_tokens", 10_000)


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        ("openai", "gpt-5-mini", Price(0.25, 2.0)),
        ("openai", "gpt-5-mini-2025-08-07", Price(0.25, 2.0)),
        ("anthropic", "claude-haiku-4-5-20251001", Price(1.0, 5.0)),
        ("openai", "gpt-4o-2024-08-06", Price(2.5, 10.0)),
        ("openai", "gpt-4o-2024-05-13", Price(5.0, 15.0)),
        ("openai", "gpt-5-pro", None),
        ("openai", "my-model", None),
        ("nobody", "gpt-5-mini", None),
    ],
)
def test_only_listed_models_have_a_price(provider: str, model: str, price: Price | None) -> None:
    assert listed_price(provider, model) == price


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b", "-1,2", "nan,1", "", "1,inf"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ExplicateError, match="IN,OUT"):
        Price.parse(text)
    assert Price.parse("0.25, 2") == Price(0.25, 2.0)


def test_an_estimate_counts_everything_that_is_sent_and_allowed() -> None:
    text = "the river rises in the hills " * 10
    chat = Chat(messages=(Message(role="system", content=text), Message(role="user", content=text)), max_tokens=50)
    one = estimate(chat, PRICE)
    assert one.prompt_tokens >= 2 * len(text.split())
    assert one.completion_tokens == 50
    assert one.usd == PRICE.usd(one.prompt_tokens, 50)
    assert estimate(chat, PRICE, hidden_tokens=1000).completion_tokens == 1050
    with_schema = estimate(chat.model_copy(update={"json_schema": {"type": "object"}}), None)
    assert with_schema.prompt_tokens > one.prompt_tokens
    pieces = ("word", "\t", "?", "\n") * 25
    readout = estimate(Readout(prefix=text, head=text, pieces=pieces, after=(1,), options=("0",)), PRICE)
    assert readout.prompt_tokens >= 2 * len(text.split()) + len(pieces)


def test_an_estimate_of_a_conversation_with_tools_counts_calls_results_and_tools() -> None:
    turn = Turn(role="user", content="go" * 50)
    plain = ToolChat(messages=(turn,), tools=(), max_tokens=50)
    assert estimate(plain, None).prompt_tokens >= 50
    assert estimate(plain, None, hidden_tokens=7).completion_tokens == 57
    call = ToolCall(id="a", name="measure", arguments="x" * 200)
    tool = Tool(name="measure", description="y" * 300, parameters={"type": "object"})
    called = plain.model_copy(update={"messages": (turn, Turn(role="assistant", content="", tool_calls=(call,)))})
    assert estimate(called, None).prompt_tokens >= estimate(plain, None).prompt_tokens + 100
    assert estimate(plain.model_copy(update={"tools": (tool,)}), None).prompt_tokens >= estimate(plain, None).prompt_tokens + 150


async def test_a_budget_within_another_is_held_to_both_and_charges_both() -> None:
    whole = Budget(max_calls=3)
    first, second = Budget(max_calls=2, within=whole), Budget(within=whole)
    for budget in (first, second):
        budget.admit("m", PRICE)
    for budget in (first, first, second):
        await budget.reserve(Estimate(1))
        budget.book("m", Estimate(1), Usage(prompt_tokens=5, usd=0.5), 1.0)
    with pytest.raises(LimitReached, match="--max-calls 2 is reached"):
        await first.reserve(Estimate(1))
    with pytest.raises(LimitReached, match="--max-calls 3 is reached"):
        await second.reserve(Estimate(1))
    second.book_cached("m")
    assert (first.spent.made, second.spent.made, whole.spent.made, whole.spent.cached) == (2, 1, 3, 1)
    assert whole.spent.usd == first.spent.usd + second.spent.usd == 1.5


async def test_what_the_outer_budget_refuses_the_inner_one_does_not_hold() -> None:
    whole = Budget(max_calls=1)
    inner = Budget(max_calls=5, within=whole)
    inner.admit("m", PRICE)
    with pytest.raises(LimitReached):
        await inner.reserve(Estimate(1), Estimate(1))
    assert inner.fits(Estimate(5))


def test_a_limit_in_money_of_the_outer_budget_needs_a_price() -> None:
    with pytest.raises(ProviderError, match="is not known"):
        Budget(within=Budget(max_usd=1.0)).admit("m", None)
