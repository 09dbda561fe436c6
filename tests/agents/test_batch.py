"""Requests by batch, against a server on the loopback interface that keeps to OpenAI's Batch API and fails where it is told to."""

import asyncio
import json
import logging
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai.resources.batches import AsyncBatches

import agents.batch
import agents.batch_lines
from agents.budget import Budget
from agents.cache import ReplyCache
from agents.connect import OPENAI_KEY, connect
from agents.llm import Chat, ChatReply, Message, Reply, Usage
from agents.metered import Metered
from agents.prices import listed_price
from agents.providers.batch import BATCHES, DISCOUNT, LANES
from agents.simulators.structured import Structured
from agents.transcript import CallRecord
from analyzers.errors import Failed, LimitReached, ProviderError
from analyzers.evidence import Excerpt

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    # The client asks in a thread what machine this is: without it, what is asked together is under way after a few turns of the loop.
    monkeypatch.setattr("openai._base_client.asyncify", lambda call: lambda: asyncio.sleep(0, call()))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ReplyCache]:
    with ReplyCache(tmp_path / "replies.sqlite") as made:
        yield made


async def turns(seconds: float) -> None:
    """Waits no time, and long enough for all that is ready to be asked to be asked."""
    for _ in range(300):
        await asyncio.sleep(0)


def for_two(endpoint: Any) -> Callable[[float], Any]:
    """As `turns`, but what is submitted first is not waited for to its end before a second batch is there, however slow the machine."""

    async def wait(seconds: float) -> None:
        while len(endpoint.batches) == 1:
            await asyncio.sleep(0)
        await turns(seconds)

    return wait


@pytest.fixture
def endpoint(batches: Any) -> Any:
    """The Batch API of tests/conftest.py."""
    return batches


def chat(text: str, **changes: Any) -> Chat:
    return Chat(messages=(Message(role="user", content=text),), max_tokens=5, **changes)


SCHEMA = {"type": "object", "properties": {"levels": {"type": "array"}}}
REQUESTS = [
    *(chat(f"{n}", seed=n) for n in range(6)),
    chat("warm", temperature=0.7),
    chat("cut", stop=("re",)),
    chat("ünï \U0001f40e", seed=1),
    chat("which digit?", top_logprobs=10),
    chat("levels", json_schema=SCHEMA),
]


def bare(outcomes: list[Reply | Failed]) -> list[Any]:
    """Without what was taken."""
    return [outcome if isinstance(outcome, Failed) else outcome.model_copy(update={"usage": Usage()}) for outcome in outcomes]


def said(outcomes: list[Reply | Failed]) -> list[str]:
    return [
        outcome.text.split()[1] if isinstance(outcome, ChatReply) else f"failed: {getattr(outcome, 'reason', '')}" for outcome in outcomes
    ]


async def to(endpoint: Any, cache: ReplyCache | None = None, spec: str = "openai:my-model", **changes: Any) -> Metered:
    given: dict[str, Any] = {"base_url": endpoint.url, "budget": Budget(), "cache": cache, "sleep": turns, "timeout": 20.0, "batch": True}
    return await connect(spec, **(given | changes))


# ---- as live


@pytest.mark.parametrize("model", ["my-model", "gpt-5-mini"])
async def test_a_batch_gives_what_calls_give_for_what_calls_send(endpoint: Any, model: str) -> None:
    requests = [request for request in REQUESTS if not (model == "gpt-5-mini" and request.top_logprobs)]
    async with await to(endpoint, batch=False, spec=f"openai:{model}") as live:
        calm = await live.answer(requests)
        identity, able = dict(live.identity), live.capabilities
    asked = len(endpoint.calls)
    sent = {json.dumps(body) for body in endpoint.calls[asked - len(requests) :]}
    async with await to(endpoint, spec=f"openai:{model}") as llm:
        assert (dict(llm.identity), llm.capabilities) == (identity, able)
        outcomes = await llm.answer(requests)
    assert bare(outcomes) == bare(calm)
    assert not any(isinstance(outcome, Failed) for outcome in outcomes)
    # One batch, and by calls only what the model can do.
    assert len(endpoint.batches) == 1
    assert len(endpoint.calls) - asked == asked - len(requests)
    lines = endpoint.lines(0)
    assert {json.dumps(line["body"]) for line in lines} == sent
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert len({line["custom_id"] for line in lines}) == len(requests)
    batch = endpoint.batches[0]
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")


async def test_calls_and_batches_share_the_cache(endpoint: Any, cache: ReplyCache) -> None:
    async with await to(endpoint, cache) as llm:
        by_batch = await llm.answer(REQUESTS)
    calls = len(endpoint.calls)
    async with await to(endpoint, cache, batch=False) as llm:
        assert bare(await llm.answer(REQUESTS)) == bare(by_batch)
        more = await llm.answer([chat("more")])
    assert len(endpoint.calls) == calls + 1
    async with await to(endpoint, cache) as llm:
        assert bare(await llm.answer([chat("more"), *REQUESTS])) == bare([*more, *by_batch])
    assert len(endpoint.batches) == 1


async def test_a_simulator_simulates_the_same_by_batch_and_all_it_asks_comes_in_one(endpoint: Any) -> None:
    tokens = ("The", " cat", "\n", " sat")
    excerpts = [Excerpt(f"doc{n}", 0, (*tokens, f" {n}"), np.zeros(5, np.float32), "top") for n in range(4)]
    async with await to(endpoint, batch=False) as live:
        calm = await Structured(live).simulate("cats", excerpts)
    async with await to(endpoint) as llm:
        cats, dogs = await asyncio.gather(Structured(llm).simulate("cats", excerpts), Structured(llm).simulate("dogs", excerpts))
    assert len(endpoint.batches) == 1
    assert len(endpoint.lines(0)) == 8
    assert not any(isinstance(outcome, Failed) for outcome in (*calm, *dogs))
    for one, other in zip(cats, calm, strict=True):
        assert not isinstance(one, Failed)
        assert not isinstance(other, Failed)
        assert one.present.all()
        assert one.values.tolist() == other.values.tolist()


async def test_equal_requests_asked_by_several_are_one_line(endpoint: Any) -> None:
    async with await to(endpoint) as one, await to(endpoint) as other:
        first = await asyncio.gather(one.answer([chat("a"), chat("a"), chat("b")]), one.answer([chat("a"), chat("c")]))
        assert [said(outcomes) for outcomes in first] == [["a", "a", "b"], ["a", "c"]]
        assert sorted(endpoint.texts(0)) == ["a", "b", "c"]
        assert said(await other.answer([chat("a")])) == ["a"]


async def test_who_asks_the_same_again_without_a_cache_is_answered_anew(endpoint: Any) -> None:
    async with await to(endpoint) as llm:
        assert said(await llm.answer([chat("a")])) == said(await llm.answer([chat("a")])) == ["a"]
    assert len(endpoint.batches) == 2


async def test_how_far_it_is_is_told(endpoint: Any) -> None:
    told: list[tuple[str, int, int]] = []
    async with await to(endpoint, report=lambda *line: told.append(line)) as llm:
        await llm.answer([chat(str(n)) for n in range(9)])
    assert {what for what, _, _ in told} == {"openai:my-model in batches"}
    assert [(done, total) for _, done, total in told] == [(0, 9), (1, 9), (2, 9), (9, 9)]


# ---- failures of some requests


async def test_what_the_endpoint_did_not_get_to_is_sent_again_and_what_it_refuses_is_not(endpoint: Any, cache: ReplyCache) -> None:
    verdicts: dict[str, list[Any]] = {
        "busy": [(429, "slow down"), "ok"],
        "broken": [(500, "oops"), (503, "oops"), "ok"],
        "late": ["expired", "ok"],
        "lost": ["missing", "missing", "ok"],
        "never": [(500, "always so")] * 9,
        "wrong": [(400, "too long")],
    }
    asked: dict[str, int] = {}

    def verdict(nth: int, text: str) -> Any:
        n = asked[text] = asked.get(text, -1) + 1
        rest = verdicts.get(text, ["ok"])
        return rest[min(n, len(rest) - 1)]

    endpoint.verdict = verdict
    endpoint.ends = lambda nth: "expired" if nth == 0 else "completed"
    texts = ["a", *verdicts, "b"]
    budget = Budget()
    async with await to(endpoint, cache, budget=budget) as llm:
        outcomes = await llm.answer([chat(text) for text in texts])
    by_text = dict(zip(texts, said(outcomes), strict=True))
    assert by_text["never"].endswith(f"answered 500 (always so); given up after {BATCHES} batches")
    assert by_text["wrong"] == "failed: rejected (400): too long"
    assert [by_text[text] for text in ("a", "busy", "broken", "late", "lost", "b")] == ["a", "busy", "broken", "late", "lost", "b"]
    assert [sorted(endpoint.texts(nth)) for nth in range(len(endpoint.batches))] == [
        sorted(texts),
        ["broken", "busy", "late", "lost", "never"],
        ["broken", "lost", "never"],
    ]
    # Only what was answered is paid for.
    assert budget.by_model()["openai:my-model"].prompt_tokens == 60


async def test_an_answer_that_cannot_be_read_is_paid_for_and_asked_again(endpoint: Any) -> None:
    def model(body: Mapping[str, Any]) -> Any:
        return {"choices": 3} if body["messages"][-1]["content"] == "a" and len(endpoint.batches) == 1 else endpoint.fake(body)

    endpoint.model = model
    budget = Budget()
    async with await to(endpoint, budget=budget) as llm:
        assert said(await llm.answer([chat("a"), chat("b")])) == ["a", "b"]
    assert [sorted(endpoint.texts(nth)) for nth in range(2)] == [["a", "b"], ["a"]]
    assert budget.by_model()["openai:my-model"].made == 3


async def test_a_line_that_cannot_be_read_counts_as_missing(endpoint: Any, caplog: pytest.LogCaptureFixture) -> None:
    end = endpoint.end

    def torn(nth: int, batch: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        end(nth, batch, lines)
        if nth == 0:
            endpoint.files["file-output-0"] = endpoint.files["file-output-0"][:-20] + b"\n"

    endpoint.end = torn  # type: ignore[method-assign]
    async with await to(endpoint) as llm:
        assert said(await llm.answer([chat("a"), chat("b")])) == ["a", "b"]
    assert endpoint.texts(1) == ["a"]
    assert "1 lines of batch batch_0" in caplog.text


# ---- failures of whole batches


async def test_a_batch_that_is_refused_stops_the_run_with_what_was_said(endpoint: Any) -> None:
    endpoint.refuses = lambda nth, lines: [{"code": "billing", "message": f"no money {KEY}", "line": None, "param": None}]
    async with await to(endpoint) as llm:
        with pytest.raises(ProviderError, match=r"^'openai:my-model' at http://\S+ refused batch batch_0: no money"):
            await llm.answer([chat("a"), chat("b")])
    assert len(endpoint.batches) == 1


async def test_of_a_batch_that_is_refused_for_one_line_only_that_one_fails(endpoint: Any) -> None:
    def refuses(nth: int, lines: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        wrong = [n for n, line in enumerate(lines, start=1) if line["body"]["messages"][-1]["content"] == "b"]
        return [{"code": "invalid", "message": "bad line", "line": n, "param": None} for n in wrong] or None

    endpoint.refuses = refuses
    async with await to(endpoint) as llm:
        outcomes = said(await llm.answer([chat("a"), chat("b"), chat("c")]))
        assert outcomes == ["a", "failed: rejected (400): bad line", "c"]
        with pytest.raises(ProviderError, match="refused batch batch_2: bad line"):
            await llm.answer([chat("b")])


async def test_a_batch_that_finds_no_room_goes_in_halves(endpoint: Any) -> None:
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None}
    endpoint.refuses = lambda nth, lines: [full] if len(lines) > 3 else None
    async with await to(endpoint) as llm:
        texts = [str(n) for n in range(10)]
        assert said(await llm.answer([chat(text) for text in texts])) == texts
    assert [len(endpoint.lines(nth)) for nth in range(len(endpoint.batches))] == [10, 5, 2, 3, 5, 2, 3]


async def test_a_batch_that_finds_no_room_beside_another_of_ours_waits_for_it(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.batch_lines, "MOST_REQUESTS", 4)
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None}

    def refuses(nth: int, lines: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        open_ = [batch for batch in endpoint.batches if batch["status"] in ("validating", "in_progress")]
        return [full] if len(open_) > 1 else None

    endpoint.refuses = refuses
    async with await to(endpoint, sleep=for_two(endpoint)) as llm:
        texts = [str(n) for n in range(8)]
        assert said(await llm.answer([chat(text) for text in texts])) == texts
    ended = [batch["status"] for batch in endpoint.batches]
    assert sorted(ended) == ["completed", "completed", "failed"]
    assert [len(endpoint.lines(nth)) for nth in range(3)] == [4, 4, 4]


async def test_a_batch_stands_in_anothers_way_before_it_is_heard_that_there_is_one(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.batch_lines, "MOST_REQUESTS", 4)
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None}
    endpoint.refuses = lambda nth, lines: [full] if nth == 0 else None
    create = AsyncBatches.create

    async def late(self: AsyncBatches, **given: Any) -> Any:
        made = await create(self, **given)
        if made.id == "batch_1":
            while endpoint.batches[0]["status"] != "failed":
                await asyncio.sleep(0)
            await asyncio.sleep(0.2)
        return made

    monkeypatch.setattr(AsyncBatches, "create", late)
    async with await to(endpoint, sleep=for_two(endpoint)) as llm:
        texts = [str(n) for n in range(8)]
        assert said(await llm.answer([chat(text) for text in texts])) == texts
    # Waited for, not cut into halves as where nothing else is under way.
    assert [(batch["status"], len(endpoint.lines(nth))) for nth, batch in enumerate(endpoint.batches)] == [
        ("failed", 4),
        ("completed", 4),
        ("completed", 4),
    ]


async def test_a_batch_that_was_in_anothers_way_may_have_ended_before_that_is_heard(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.batch_lines, "MOST_REQUESTS", 4)
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None, "param": None}
    endpoint.refuses = lambda nth, lines: [full] if nth == 0 else None
    retrieve = AsyncBatches.retrieve

    async def late(self: AsyncBatches, batch_id: str, **given: Any) -> Any:
        found = await retrieve(self, batch_id, **given)
        if found.status == "failed":
            while endpoint.batches[1]["status"] != "completed":
                await asyncio.sleep(0)
            await asyncio.sleep(0.2)
        return found

    monkeypatch.setattr(AsyncBatches, "retrieve", late)
    async with await to(endpoint, sleep=for_two(endpoint)) as llm:
        texts = [str(n) for n in range(8)]
        assert said(await llm.answer([chat(text) for text in texts])) == texts
    assert [(batch["status"], len(endpoint.lines(nth))) for nth, batch in enumerate(endpoint.batches)] == [
        ("failed", 4),
        ("completed", 4),
        ("completed", 4),
    ]


async def test_an_endpoint_without_room_for_a_single_request_is_said_to_have_none(endpoint: Any) -> None:
    endpoint.refuses = lambda nth, lines: [{"code": "token_limit_exceeded", "message": "full", "line": None, "param": None}]
    async with await to(endpoint) as llm:
        with pytest.raises(ProviderError, match="holds as many requests in batches as it takes of you: run the same command later"):
            await llm.answer([chat("a"), chat("b")])
    assert len(endpoint.batches) == 2


async def test_what_a_cancelled_batch_answered_is_kept_and_the_same_command_sends_the_rest(endpoint: Any, cache: ReplyCache) -> None:
    endpoint.ends = lambda nth: "cancelled" if nth == 0 else "completed"
    endpoint.verdict = lambda nth, text: "missing" if nth == 0 and text in "cd" else "ok"
    requests = [chat(text) for text in "abcd"]
    async with await to(endpoint, cache) as llm:
        with pytest.raises(ProviderError, match=r"batch_0 of .* was cancelled with 2 of 4 requests not answered"):
            await llm.answer(requests)
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer(requests)) == list("abcd")
    assert sorted(endpoint.texts(1)) == ["c", "d"]


async def test_a_server_without_a_batch_api_is_named(endpoint: Any) -> None:
    endpoint.breaks = lambda method, path: 404 if path == "/files" else None
    async with await to(endpoint) as llm:
        with pytest.raises(ProviderError, match=r"offers no Batch API \(404\): leave out --batch"):
            await llm.answer([chat("a")])


@pytest.mark.parametrize("spec", ["echo:toy", "anthropic:claude-haiku-4-5"])
async def test_what_has_no_batches_is_refused_before_anything_is_asked(endpoint: Any, spec: str) -> None:
    with pytest.raises(ProviderError, match=f"'{spec}' cannot be asked by batches"):
        await to(endpoint, spec=spec, base_url=None)


async def test_a_script_takes_no_notice(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('["one two"]')
    llm = await connect(f"scripted:{tmp_path / 'script.json'}", budget=Budget(), cache=None, batch=True)
    assert said(await llm.answer([chat("a")])) == ["two"]


# ---- an endpoint that is away


async def test_an_endpoint_that_is_away_for_a_while_is_waited_for(endpoint: Any) -> None:
    seen: dict[str, int] = {}

    def breaks(method: str, path: str) -> Any:
        if path == "/chat/completions":
            return None
        seen[path] = seen.get(path, 0) + 1
        return 503 if seen[path] <= (12 if path == "/batches/batch_0" else 2) else None

    endpoint.breaks = breaks
    async with await to(endpoint) as llm:
        assert said(await llm.answer([chat("a")])) == ["a"]
    assert {path for path in seen if seen[path] > 2} >= {"/files", "/batches/batch_0", "/files/file-output-0/content"}
    assert len(endpoint.batches) == 1


async def test_an_endpoint_that_stays_away_ends_the_wait_and_the_batch_is_collected_later(endpoint: Any, cache: ReplyCache) -> None:
    endpoint.breaks = lambda method, path: 503 if path == "/batches/batch_0" else None
    async with await to(endpoint, cache) as llm:
        with pytest.raises(ProviderError, match=r"answered 503.*Batch batch_0 goes on: run the same command again"):
            await llm.answer([chat("a")])
    endpoint.breaks = lambda method, path: None
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer([chat("a")])) == ["a"]
    assert len(endpoint.batches) == 1


async def test_an_endpoint_that_refuses_to_tell_of_a_batch_is_a_plain_error(endpoint: Any) -> None:
    endpoint.breaks = lambda method, path: 400 if path == "/batches/batch_0" else None
    async with await to(endpoint) as llm:
        with pytest.raises(ProviderError, match="does not tell of batch batch_0"):
            await llm.answer([chat("a")])


async def test_a_submission_whose_answer_was_lost_is_found_by_its_mark(endpoint: Any) -> None:
    lost: list[str] = []

    def breaks(method: str, path: str) -> Any:
        if (method, path) == ("POST", "/batches") and not lost:
            lost.append(path)
            return "after"
        return None

    endpoint.breaks = breaks
    async with await to(endpoint) as llm:
        assert said(await llm.answer([chat("a"), chat("b")])) == ["a", "b"]
    assert lost
    assert len(endpoint.batches) == 1


async def test_a_submission_of_which_nothing_was_heard_is_found_by_the_next_run(endpoint: Any, cache: ReplyCache) -> None:
    def breaks(method: str, path: str) -> Any:
        return None if path != "/batches" else "after" if method == "POST" else 503

    endpoint.breaks = breaks
    async with await to(endpoint, cache) as llm:
        with pytest.raises(ProviderError, match=r"given up after \d+ tries. What was answered or submitted is kept"):
            await llm.answer([chat("a"), chat("b")])
    endpoint.breaks = lambda method, path: None
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer([chat("a"), chat("b")])) == ["a", "b"]
    assert len(endpoint.batches) == 1


async def test_a_submission_that_is_refused_is_not_looked_for(endpoint: Any, cache: ReplyCache) -> None:
    endpoint.breaks = lambda method, path: 400 if path == "/batches" else None
    async with await to(endpoint, cache) as llm:
        with pytest.raises(ProviderError, match=r"takes no batch: rejected \(400\)"):
            await llm.answer([chat("a")])
    looked: list[str] = []
    endpoint.breaks = lambda method, path: looked.append(method) if path == "/batches" else None
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer([chat("a")])) == ["a"]
    assert looked == ["POST"]


async def test_once_one_batch_is_refused_no_other_is_submitted(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.batch_lines, "MOST_REQUESTS", 4)
    full = {"code": "token_limit_exceeded", "message": "full", "line": None, "param": None}
    wrong = {"code": "billing", "message": "no money", "line": None, "param": None}
    endpoint.refuses = lambda nth, lines: [full] if len(lines) == 4 else [wrong]
    async with await to(endpoint) as llm:
        with pytest.raises(ProviderError, match="no money"):
            await llm.answer([chat(str(n)) for n in range(4)])
        with pytest.raises(ProviderError, match="no money"):
            await llm.answer([chat("more")])
    # Neither the second half nor what came later.
    assert [len(endpoint.lines(nth)) for nth in range(len(endpoint.batches))] == [4, 2]


# ---- stopped and gone on


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.01)


async def slow(seconds: float) -> None:
    await asyncio.sleep(0.05 if seconds == agents.batch.GATHERING else 0.01)


async def test_who_stops_does_not_wait_and_whoever_comes_later_collects(
    endpoint: Any, cache: ReplyCache, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.looks = 10**9
    requests = [chat(str(n)) for n in range(5)]
    llm = await to(endpoint, cache)
    asking = asyncio.create_task(llm.answer(requests))
    await until(lambda: bool(endpoint.batches) and endpoint.batches[0]["looked"] > 2)
    asking.cancel()
    await llm.close()
    assert "under way: 1; run the same command again" in caplog.text
    endpoint.looks = 1
    # Not all of it at once, nor in its order; beside it something new.
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer(requests[3:])) == ["3", "4"]
        assert said(await llm.answer([*requests[:3], chat("new")])) == ["0", "1", "2", "new"]
    assert [endpoint.texts(nth) for nth in range(len(endpoint.batches))] == [["0", "1", "2", "3", "4"], ["new"]]


async def test_two_processes_that_want_the_same_wait_for_one_batch(endpoint: Any, tmp_path: Path) -> None:
    endpoint.looks = 10**9
    requests = [chat(str(n)) for n in range(3)]
    with ReplyCache(tmp_path / "replies") as cache, ReplyCache(tmp_path / "replies") as again:
        async with await to(endpoint, cache) as one, await to(endpoint, again) as other:
            first = asyncio.create_task(one.answer(requests))
            await until(lambda: len(endpoint.batches) == 1)
            second = asyncio.create_task(other.answer([*requests, chat("x")]))
            await until(lambda: len(endpoint.batches) == 2)
            endpoint.looks = 1
            assert said(await first) == ["0", "1", "2"]
            assert said(await second) == ["0", "1", "2", "x"]
    assert endpoint.texts(1) == ["x"]


@pytest.mark.parametrize("created", [True, False])
async def test_a_batch_whose_id_was_never_noted_is_looked_for(
    endpoint: Any, cache: ReplyCache, created: bool, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.looks = 10**9
    llm = await to(endpoint, cache)
    asking = asyncio.create_task(llm.answer([chat("a"), chat("b")]))
    await until(lambda: bool(endpoint.batches) and endpoint.batches[0]["looked"] > 1)
    asking.cancel()
    await llm.close()
    # As if the process had been killed between the two.
    with sqlite3.connect(cache.path) as file:
        file.execute("UPDATE batches SET batch = NULL, at = at - 1000")
    file.close()
    if not created:
        endpoint.batches[0]["metadata"] = {"explicate": "of somebody else"}
    endpoint.looks = 1
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer([chat("a"), chat("b")])) == ["a", "b"]
    assert len(endpoint.batches) == (1 if created else 2)
    assert ("is not there for this key: its 2 requests are sent anew" in caplog.text) != created


async def test_a_batch_that_is_gone_is_sent_anew_with_a_warning(endpoint: Any, cache: ReplyCache, caplog: pytest.LogCaptureFixture) -> None:
    endpoint.looks = 10**9
    llm = await to(endpoint, cache)
    asking = asyncio.create_task(llm.answer([chat("a")]))
    await until(lambda: bool(endpoint.batches) and endpoint.batches[0]["looked"] > 1)
    asking.cancel()
    await llm.close()
    endpoint.looks = 1
    endpoint.breaks = lambda method, path: 404 if path == "/batches/batch_0" else None
    async with await to(endpoint, cache) as llm:
        assert said(await llm.answer([chat("a")])) == ["a"]
    assert "batch batch_0 of 'openai:my-model' at" in caplog.text
    assert endpoint.texts(1) == ["a"]


RUN = """
import asyncio, sys
from pathlib import Path
from agents.budget import Budget
from agents.cache import ReplyCache
from agents.connect import connect
from agents.llm import Chat, Message

async def sleep(seconds):
    await asyncio.sleep(0.3 if seconds == 5.0 else 0.02)

async def main():
    budget = Budget()
    with ReplyCache(Path(sys.argv[2])) as cache:
        given = dict(base_url=sys.argv[1], budget=budget, cache=cache, sleep=sleep, batch=True)
        async with await connect("openai:my-model", **given) as llm:
            requests = [Chat(messages=(Message(role="user", content=str(n)),), max_tokens=5) for n in range(12)]
            for outcome in await llm.answer(requests):
                print(outcome.text)
    spent = budget.by_model()["openai:my-model"]
    print(spent.made, spent.prompt_tokens)

asyncio.run(main())
"""
PREPARE = """
import agents.connect, agents.providers.batch, agents.providers.chat, langchain_openai
from langchain.chat_models import init_chat_model
"""


def test_killed_while_a_batch_is_under_way_it_is_collected_and_nothing_is_submitted_twice(
    forks: Any, endpoint: Any, tmp_path: Path
) -> None:
    endpoint.looks = 10**9
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI")}

    def run() -> Any:
        replies = str(tmp_path / "replies.sqlite")
        return forks.start(RUN, endpoint.url, replies, folder=tmp_path, prepare=PREPARE, environment=environment)

    def printed() -> list[str]:
        process = run()
        assert process.wait() == 0, process.err.read_text("utf-8")
        lines: list[str] = process.out.read_text("utf-8").split("\n")[:-1]
        return lines

    process = run()
    deadline = time.monotonic() + 120
    while not (endpoint.batches and endpoint.batches[0]["looked"] > 1):
        assert process.poll() is None, process.err.read_text("utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.kill() == -signal.SIGKILL
    endpoint.looks = 1
    *replies, accounts = printed()
    assert [reply.split()[1] for reply in replies] == [str(n) for n in range(12)]
    assert accounts == "12 120"
    assert len(endpoint.batches) == 1
    assert printed() == [*replies, "0 0"]
    assert len(endpoint.batches) == 1


# ---- money


async def test_a_batch_costs_half_and_what_was_asked_live_the_whole(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.connect.OPENAI_URL", endpoint.url)
    monkeypatch.setenv(OPENAI_KEY, KEY)
    price = listed_price("openai", "gpt-4.1-mini")
    assert price is not None
    spent = []
    for batch in (False, True):
        budget = Budget(max_usd=1.0)
        async with await to(endpoint, spec="openai:gpt-4.1-mini", base_url=None, budget=budget, batch=batch) as llm:
            await llm.answer([chat(str(n)) for n in range(10)])
        spent.append(budget.by_model()["openai:gpt-4.1-mini"].usd)
        live = budget.by_model().get("openai:gpt-4.1-mini (live)")
    assert live is not None
    one = price.usd(10, 5)
    assert spent[0] == pytest.approx(10 * one + live.usd)
    assert live.usd == pytest.approx(live.made * one)
    assert spent[1] == pytest.approx(10 * one * DISCOUNT)
    assert DISCOUNT == 0.5


async def test_a_limit_in_money_allows_twice_as_many(endpoint: Any) -> None:
    budget = Budget(max_calls=6)
    async with await to(endpoint, budget=budget) as llm:
        asked = budget.spent.made
        outcomes = await asyncio.gather(*(llm.answer([chat(str(n))]) for n in range(9)), return_exceptions=True)
        reached = [outcome for outcome in outcomes if isinstance(outcome, LimitReached)]
        assert len(reached) == 9 - (6 - asked)
    assert len(endpoint.lines(0)) == 6 - asked


async def test_what_a_limit_holds_back_comes_in_the_next_batch_when_the_first_took_less(endpoint: Any) -> None:
    budget = Budget(max_tokens=10_000)
    async with await to(endpoint, budget=budget) as llm:
        # Each is estimated at 22 tokens and takes 15.
        budget.max_tokens = budget.spent.tokens + 22 * 4
        assert said(await llm.answer([chat(str(n)) for n in range(5)])) == [str(n) for n in range(5)]
    assert [len(endpoint.lines(nth)) for nth in range(len(endpoint.batches))] == [4, 1]


async def test_how_long_a_batch_will_take_is_not_known_from_calls(endpoint: Any) -> None:
    budget = Budget()
    async with await to(endpoint, budget=budget) as llm:
        assert budget.spent.made > 0
        assert budget.forecast(llm.name, [chat("a")]).seconds is None


async def test_a_key_appears_nowhere(
    endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(OPENAI_KEY, KEY)
    caplog.set_level(logging.DEBUG)
    records: list[CallRecord] = []
    endpoint.verdict = lambda nth, text: (400, f"bad {KEY}") if text == "bad" else "ok"
    with ReplyCache(tmp_path / "replies.sqlite") as cache:
        llm = await to(endpoint, cache, on_call=records.append)
        texts = said(await llm.answer([chat("a"), chat("bad")]))
        endpoint.breaks = lambda method, path: 503 if path == "/files" else None
        with pytest.raises(ProviderError) as caught:
            await llm.answer([chat("more")])
        await llm.close()
    assert endpoint.keys == {f"Bearer {KEY}"}
    assert texts == ["a", "failed: rejected (400): bad [key]"]
    texts += [str(caught.value), repr(records), repr(llm.identity), caplog.text]
    assert all(KEY not in text for text in texts), [text for text in texts if KEY in text]
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


# ---- many


async def test_more_than_one_batch_holds_is_submitted_as_several_at_once(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.batch_lines, "MOST_REQUESTS", 4)
    async with await to(endpoint) as llm:
        assert said(await llm.answer([chat(str(n)) for n in range(10)])) == [str(n) for n in range(10)]
    assert sorted(len(endpoint.lines(nth)) for nth in range(len(endpoint.batches))) == [2, 4, 4]


def test_all_that_one_batch_can_hold_may_be_asked_at_once() -> None:
    assert LANES == agents.batch_lines.MOST_REQUESTS == 50_000
