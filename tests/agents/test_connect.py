"""From a spec to a language model that can be asked, against a real server on the loopback interface with every kind of fault."""

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.budget import Budget
from agents.cache import ReplyCache
from agents.connect import LOCAL_BATCH, OPENAI_KEY, connect
from agents.llm import Chat, ChatReply, Choice, ChoiceReply, Message, Readout, ReadoutReply, Reply, ToolChat, Turn
from agents.metered import Metered
from agents.prices import Price
from agents.retry import ATTEMPTS
from agents.transcript import CallRecord
from analyzers.errors import Failed, LimitReached, ProviderError

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ReplyCache]:
    with ReplyCache(tmp_path / "replies.sqlite") as made:
        yield made


async def soon(seconds: float) -> None:
    await asyncio.sleep(0)


def chat(text: str, **changes: Any) -> Chat:
    return Chat(messages=(Message(role="user", content=text),), max_tokens=5, **changes)


def said(outcomes: list[Reply | Failed]) -> list[str]:
    return [outcome.text if isinstance(outcome, ChatReply) else f"failed: {getattr(outcome, 'reason', '')}" for outcome in outcomes]


def able(server: Any) -> Any:
    """Answers the questions that a connection asks, and echoes any other message."""

    def answer(body: dict[str, Any]) -> Any:
        if "logprobs" in body and "messages" in body:
            return server.chat("7", logprobs=server.digits())
        if "response_format" in body:
            return server.chat('{"animal": "zebra"}')
        return server.chat(f"re {body['messages'][-1]['content']}")

    return answer


async def to(server: Any, cache: ReplyCache | None = None, spec: str = "openai:my-model", **changes: Any) -> Metered:
    given: dict[str, Any] = {"base_url": server.url, "budget": Budget(), "cache": cache, "sleep": soon, "timeout": 5.0} | changes
    return await connect(spec, **given)


# ---- specs


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("gpt-5-mini", "'gpt-5-mini' is not a language model; write local:NAME, .*Did you mean 'openai:gpt-5-mini'"),
        ("", "is not a language model"),
        ("local:", "is not a language model; .*Did you mean 'local:MODEL'"),
        ("lokal", "Did you mean 'local:MODEL'"),
        ("opnai:gpt-5-mini", "'opnai:gpt-5-mini' cannot be set up.*Did you mean 'openai:gpt-5-mini'"),
        ("anthropic:claude-haiku-4-5", "needs a package that is not installed"),
        ("scripted:/no/such/file", "is not a script"),
        ("openai:m", "needs a key: put it into the environment as OPENAI_API_KEY"),
        ("echo:m", "needs a key"),
    ],
)
async def test_a_spec_that_cannot_be_is_one_plain_line(spec: str, text: str) -> None:
    with pytest.raises(ProviderError, match=text) as caught:
        await connect(spec, budget=Budget(), cache=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("127.0.0.1:8000", "is not a base URL"),
        ("ftp://x/v1", "is not a base URL"),
        ("http://user:sk-secret-password@127.0.0.1/v1", "holds more than"),
        ("http://127.0.0.1/v1?key=sk-secret-password", "holds more than"),
    ],
)
async def test_a_base_url_that_is_none_or_holds_a_key_is_refused(url: str, text: str) -> None:
    with pytest.raises(ProviderError, match=text) as caught:
        await connect("openai:m", base_url=url, budget=Budget(), cache=None)
    assert "sk-secret-password" not in str(caught.value)


async def test_a_script_is_a_language_model(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('["one", "two"]')
    llm = await connect(f"scripted:{tmp_path / 'script.json'}", budget=Budget(max_usd=0), cache=None)
    assert said(await llm.answer([chat("a"), chat("b")])) == ["one", "two"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
async def test_a_local_model_is_loaded_as_it_is_asked_for(tiny_checkpoint: Callable[[str], Path], dtype: str) -> None:
    spec = f"local:{tiny_checkpoint('llama')}"
    async with await connect(spec, budget=Budget(), cache=None, dtype=dtype, device="cpu") as llm:
        assert llm.identity["dtype"] == dtype
        assert llm.capabilities == {"chat", "prefill", "top_logprobs", "readout", "choice"}
        choice = Choice(messages=chat("Which?").messages, options=(" a", " b"))
        (reply,) = await llm.answer([choice])
    assert isinstance(reply, ChoiceReply)
    assert all(value < 0 for value in reply.logprobs)


def test_every_kind_of_request_has_a_batch_of_the_local_model() -> None:
    assert set(LOCAL_BATCH) == {kind.model_fields["kind"].default for kind in (Chat, Readout, Choice)}


async def test_a_model_in_this_process_costs_nothing_and_is_cached(
    tiny_checkpoint: Callable[[str], Path], cache: ReplyCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EXPLICATE_ASSETS", str(tmp_path / "assets"))
    readout = Readout(prefix="the river ", head="and ", pieces=("a", "\t", "?", "\n"), after=(1,), options=("1", "2"))
    replies = []
    for made in (1, 0):
        budget = Budget(max_usd=0)
        async with await connect(f"local:{tiny_checkpoint('llama')}", budget=budget, cache=cache) as llm:
            (reply,) = await llm.answer([readout])
        assert isinstance(reply, ReadoutReply)
        replies.append(reply.logprobs)
        assert (budget.spent.made, budget.spent.cached) == (made, 1 - made)
    assert replies[0] == replies[1]


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, agents.connect; print([m for m in ('langchain', 'langchain_core', 'openai', 'torch', 'httpx2') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# ---- what a model can do


async def test_a_server_that_can_is_asked_what_it_can_once(server: Any, cache: ReplyCache) -> None:
    server.answer = able(server)
    budget = Budget()
    async with await to(server, cache, budget=budget) as llm:
        assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}
        assert said(await llm.answer([chat("a")])) == ["re a"]
    assert (budget.spent.made, len(server.bodies)) == (3, 3)
    again = Budget(max_calls=0)
    async with await to(server, cache, budget=again) as llm:
        assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}
        assert said(await llm.answer([chat("a")])) == ["re a"]
    assert (again.spent.made, again.spent.cached, len(server.bodies)) == (0, 3, 3)


async def test_a_server_that_drops_what_it_is_asked_for_does_not_offer_it(server: Any, cache: ReplyCache) -> None:
    server.answer = lambda body: server.chat("Blue")
    async with await to(server, cache) as llm:
        assert llm.capabilities == {"chat"}
        with pytest.raises(ProviderError, match=r"cannot do what is asked of it \(top_logprobs\)"):
            await llm.answer([chat("a", top_logprobs=5)])
    assert len(server.bodies) == 2


async def test_a_server_that_rejects_what_it_is_asked_for_does_not_offer_it_and_is_not_asked_again(server: Any, cache: ReplyCache) -> None:
    server.answer = lambda body: (
        server.chat("yes") if {"logprobs", "response_format"}.isdisjoint(body) else server.error(400, "unknown field")
    )
    for _ in range(2):
        async with await to(server, cache) as llm:
            assert llm.capabilities == {"chat"}
            assert said(await llm.answer([chat("a")])) == ["yes"]
    assert len(server.bodies) == 3


@pytest.mark.parametrize("field", ["logprobs", "response_format"])
async def test_a_server_that_is_out_of_order_while_it_is_asked_what_it_can_stops_the_run(
    server: Any, cache: ReplyCache, field: str
) -> None:
    steady = able(server)
    server.answer = lambda body: server.error(500, "broken") if field in body else steady(body)
    with pytest.raises(ProviderError, match=r"what 'openai:my-model' can do cannot be found out: .*answered 500.*run the same command"):
        await to(server, cache)
    server.answer = steady
    async with await to(server, cache) as llm:
        assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}


async def test_a_known_model_is_not_asked_what_is_known(server: Any) -> None:
    server.answer = able(server)
    async with await to(server, spec="openai:gpt-5-mini") as llm:
        assert llm.capabilities == {"chat", "json_schema", "tools"}
    assert server.bodies == []


def with_tools(server: Any, *, calls: bool = True, goes_on: bool = True) -> Any:
    """`able`, and calls the first tool it is offered where it must; goes_on: takes a result."""
    other = able(server)

    def answer(body: dict[str, Any]) -> Any:
        if "tools" not in body:
            return other(body)
        if body["messages"][-1]["role"] == "tool":
            return server.chat("Told.") if goes_on else server.error(400, "no tool turns")
        reply = server.chat("white")
        if calls and body.get("tool_choice") == "required":
            function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"colour": "white"}'}
            call = {"id": "x1", "type": "function", "function": function}
            reply["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
        return reply

    return answer


@pytest.mark.parametrize(
    ("calls", "goes_on", "able_to", "asked"), [(True, True, True, 4), (False, True, False, 3), (True, False, False, 4)]
)
async def test_a_server_is_asked_whether_it_calls_tools_once(
    server: Any, cache: ReplyCache, calls: bool, goes_on: bool, able_to: bool, asked: int
) -> None:
    server.answer = with_tools(server, calls=calls, goes_on=goes_on)
    for _ in range(2):
        async with await to(server, cache, tools=True) as llm:
            assert ("tools" in llm.capabilities) == able_to
            assert {"chat", "top_logprobs", "json_schema"} <= llm.capabilities
        assert len(server.bodies) == asked


async def test_a_server_that_rejects_tools_does_not_offer_them(server: Any, cache: ReplyCache) -> None:
    other = able(server)
    server.answer = lambda body: server.error(400, "tools need another template") if "tools" in body else other(body)
    for _ in range(2):
        async with await to(server, cache, tools=True) as llm:
            assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}
    assert len(server.bodies) == 3


async def test_a_server_that_is_not_asked_offers_no_tools(server: Any) -> None:
    server.answer = with_tools(server)
    async with await to(server) as llm:
        assert "tools" not in llm.capabilities
        request = ToolChat(messages=(Turn(role="user", content="go"),), tools=(), max_tokens=5)
        with pytest.raises(ProviderError, match=r"cannot do what is asked of it \(tools\)"):
            await llm.answer([request])
    assert len(server.bodies) == 2


async def test_logprobs_that_are_missing_later_are_a_failure(server: Any) -> None:
    server.answer = able(server)
    async with await to(server) as llm:
        server.answer = lambda body: server.chat("7")
        assert "missing logprobs" in said(await llm.answer([chat("a", top_logprobs=5)]))[0]


async def test_a_budget_of_zero_asks_nothing_at_all(server: Any) -> None:
    with pytest.raises(LimitReached):
        await to(server, budget=Budget(max_calls=0))
    assert server.bodies == []


async def test_a_limit_in_money_needs_a_price(server: Any) -> None:
    server.answer = able(server)
    with pytest.raises(ProviderError, match=r"price of 'openai:gpt-4o-mini' is not known.*--price IN,OUT"):
        await to(server, spec="openai:gpt-4o-mini", budget=Budget(max_usd=1))
    budget = Budget(max_usd=1)
    async with await to(server, budget=budget, price=Price(100.0, 1000.0)) as llm:
        await llm.answer([chat("a")])
    assert budget.spent.usd == pytest.approx(3 * (10 * 100 + 5 * 1000) / 1e6)


# ---- echo


async def test_an_endpoint_that_echoes_reads_out(server: Any, cache: ReplyCache) -> None:
    server.answer = server.echo
    readout = Readout(prefix="a\t1\n", head="b\t2\n", pieces=("a", "\t", "?", "\n"), after=(1,), options=("1", "2"))
    for _ in range(2):
        async with await to(server, cache, spec="echo:toy") as llm:
            assert llm.capabilities == {"readout"}
            (outcome,) = await llm.answer([readout])
        assert isinstance(outcome, ReadoutReply)
        following = server.following(
            server.tokens("a\t1\nb\t2\na\t"), sorted(set(server.tokens("a\t1\nb\t2\na\t?\n") + list("0123456789")))
        )
        assert list(outcome.logprobs[0]) == pytest.approx([following["1"], following["2"]])
    assert server.paths == ["/v1/completions"] * 2


async def test_an_endpoint_whose_echo_is_shifted_is_refused(server: Any) -> None:
    server.answer = lambda body: server.echo(body, shift=1)
    with pytest.raises(ProviderError, match=rf"'echo:toy' at {server.url} .*wrong tokens.*--simulator local:MODEL"):
        await to(server, spec="echo:toy")


async def test_an_endpoint_that_drops_the_echo_is_refused(server: Any) -> None:
    choice = {"index": 0, "finish_reason": "length", "text": " A", "logprobs": None}
    server.answer = lambda body: {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}
    with pytest.raises(ProviderError, match=r"does not return the log-probabilities of a prompt \(missing logprobs"):
        await to(server, spec="echo:toy")


# ---- faults


async def test_faults_that_pass_are_bridged(server: Any) -> None:
    faults = [
        server.error(429, "slow down", headers={"retry-after": "3"}),
        server.error(500, "oops"),
        server.error(503, "overloaded"),
        b"not json",
        server.die,
    ]
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server.answer = able(server)
    budget = Budget()
    async with await to(server, budget=budget, sleep=sleep) as llm:
        asked = len(server.bodies)
        server.answer = lambda body: faults.pop(0) if faults else server.chat("at last")
        assert said(await llm.answer([chat("a")])) == ["at last"]
    assert len(server.bodies) - asked == 6
    assert waits[0] >= 3.0
    # Two questions of the connection, the answer that nobody could read, and the one that came at last.
    assert budget.spent.made == 4


async def test_a_wrong_key_stops_at_once(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPENAI_KEY, KEY)
    server.answer = lambda body: server.error(401, f"Incorrect API key provided: {KEY}")
    with pytest.raises(ProviderError, match=r"refused the key \(401\): put a valid one into OPENAI_API_KEY"):
        await to(server)
    assert server.keys == [f"Bearer {KEY}"]


async def test_an_endpoint_that_is_not_there_is_named(server: Any) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with pytest.raises(ProviderError, match=rf"^'openai:m' at http://127.0.0.1:9/v1 cannot be reached.*given up after {ATTEMPTS} tries"):
        await connect("openai:m", base_url="http://127.0.0.1:9/v1", budget=Budget(), cache=None, sleep=sleep)
    assert len(waits) == ATTEMPTS - 1


async def test_a_server_that_hangs_is_not_waited_for(server: Any) -> None:
    free = threading.Event()
    server.answer = lambda body: free.wait(10) and server.chat("late")
    async with await to(server, spec="openai:gpt-5-mini", timeout=0.05) as llm:
        outcomes = await llm.answer([chat("a")])
    free.set()
    assert "did not answer in" in said(outcomes)[0]


async def test_an_interrupted_endpoint_ends_with_the_results_of_a_calm_one(server: Any, tmp_path: Path) -> None:
    requests = [chat(str(n)) for n in range(12)]
    server.answer = able(server)
    async with await to(server) as llm:
        calm = said(await llm.answer(requests))
    with ReplyCache(tmp_path / "interrupted") as cache:
        steady = able(server)
        counted: list[int] = []

        def breaking(body: dict[str, Any]) -> Any:
            counted.append(1)
            return steady(body) if len(counted) <= 7 else server.error(503, "down")

        server.answer = breaking
        async with await to(server, cache) as llm:
            with pytest.raises(ProviderError, match="run the same command again"):
                await llm.answer(requests)
        server.answer = steady
        before = len(server.bodies)
        async with await to(server, cache) as llm:
            assert said(await llm.answer(requests)) == calm
    # 7 were answered, two of them questions of the connection.
    assert len(server.bodies) - before == len(requests) - 5


# ---- keys


@pytest.mark.parametrize("spec", ["openai:my-model", "echo:toy"])
async def test_a_key_appears_nowhere(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, spec: str
) -> None:
    """Not where the endpoint echoes it in replies and errors, nor in the cache, the transcript, the logs or the objects."""
    monkeypatch.setenv(OPENAI_KEY, KEY)
    caplog.set_level(logging.DEBUG)
    answers = iter([server.error(429, f"slow down {KEY}"), server.error(400, f"bad {KEY}"), server.error(403, f"no {KEY}")])
    server.answer = server.echo if spec == "echo:toy" else able(server)
    records: list[CallRecord] = []
    texts: list[str] = []
    with ReplyCache(tmp_path / "replies.sqlite") as cache:
        llm = await to(server, cache, spec=spec, on_call=records.append)
        request: Any = chat("a")
        if spec == "echo:toy":
            request = Readout(prefix="", head="", pieces=("a", "b"), after=(0,), options=("1",))
        else:
            server.answer = lambda body: server.chat(f"your key is {KEY}")
            texts += said(await llm.answer([chat("what is my key?")]))
            assert texts == ["your key is [key]"]
        server.answer = lambda body: next(answers)
        outcomes = await llm.answer([request])
        assert isinstance(outcomes[0], Failed)
        with pytest.raises(ProviderError) as caught:
            await llm.answer([request])
        await llm.close()
    assert server.keys
    assert set(server.keys) == {f"Bearer {KEY}"}
    texts += [repr(outcomes), str(caught.value), repr(llm.identity), repr(records), json.dumps([record.line() for record in records])]
    texts += [repr(getattr(llm.base, "endpoint", "")), caplog.text]
    assert all(KEY not in text for text in texts), [text for text in texts if KEY in text]
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


# ---- killed

RUN = """
import asyncio, sys
from pathlib import Path
from agents.budget import Budget
from agents.cache import ReplyCache
from agents.connect import connect
from agents.llm import Chat, Message

async def main():
    budget = Budget()
    with ReplyCache(Path(sys.argv[2])) as cache:
        async with await connect("openai:my-model", base_url=sys.argv[1], budget=budget, cache=cache, concurrency=3) as llm:
            requests = [Chat(messages=(Message(role="user", content=str(n)),), max_tokens=5) for n in range(20)]
            for outcome in await llm.answer(requests):
                print(outcome.text)
    print(budget.spent.made, budget.spent.cached)

asyncio.run(main())
"""


PREPARE = "import agents.connect, agents.providers.chat, langchain_openai; from langchain.chat_models import init_chat_model"


def kept(path: Path) -> int:
    file = sqlite3.connect(path, timeout=30)
    try:
        return int(file.execute("SELECT count(*) FROM replies").fetchone()[0])
    finally:
        file.close()


@pytest.mark.parametrize("answered", [3, 14])
def test_killed_in_the_middle_of_a_batch_nothing_answered_is_asked_again(forks: Any, server: Any, tmp_path: Path, answered: int) -> None:
    path = tmp_path / "replies.sqlite"
    steady = able(server)
    free = threading.Event()
    lock = threading.Lock()
    count = 0

    def answer(body: dict[str, Any]) -> Any:
        nonlocal count
        with lock:
            count += 1
            mine = count
        if mine > answered:
            free.wait(60)
        return steady(body)

    server.answer = answer
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI")}

    def run() -> Any:
        return forks.start(RUN, server.url, str(path), folder=tmp_path, prepare=PREPARE, environment=environment)

    process = run()
    deadline = time.monotonic() + 60
    while not (path.exists() and count > answered and kept(path) == answered):
        assert process.poll() is None, process.err.read_text("utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.kill() == -signal.SIGKILL
    before = server.prompts()
    under_way = before[answered:]
    free.set()
    server.answer = steady
    done = run()
    assert done.wait() == 0, done.err.read_text("utf-8")
    *replies, accounts = done.out.read_text("utf-8").split("\n")[:-1]
    assert replies == [f"re {n}" for n in range(20)]
    assert accounts == f"{22 - answered} {answered}"
    # What had been answered was asked once; only what was under way at the kill is asked again.
    after = server.prompts()[len(before) :]
    assert set(after).isdisjoint(before[:answered])
    assert set(under_way) <= set(after)
    assert len(after) == 22 - answered
