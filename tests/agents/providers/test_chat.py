"""Chat models through langchain: what is sent, what is read back, and what the model's declared facts change."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessage

from agents.llm import Chat, ChatReply, Message
from agents.metered import judge
from agents.providers.chat import HIDDEN_TOKENS, ChatLLM
from agents.providers.faults import OPENAI_URL, Endpoint
from agents.retry import Transient
from analyzers.errors import Failed, ProviderError

KEY = "sk-test-0123456789abcdef"
MESSAGES = (Message(role="system", content="be brief"), Message(role="user", content="hello"))
CHAT = Chat(messages=MESSAGES, max_tokens=7, temperature=0.3, seed=5)
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}


class Fake:
    """Stands for the endpoint; keeps the bodies it was sent."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any], *, model: str = "my-model", url: str = OPENAI_URL) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer = answer
        http = openai.DefaultAsyncHttpxClient(transport=httpx2.MockTransport(self._handle))
        endpoint = Endpoint(f"openai:{model}", url, "OPENAI_API_KEY", (KEY,))
        self.llm = ChatLLM("openai", model, key=KEY, endpoint=endpoint, timeout=5, http=http)

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        answer = self.answer(body)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)


async def ask(fake: Fake, request: Chat) -> ChatReply:
    (outcome,) = await fake.llm.answer([request])
    assert isinstance(outcome, ChatReply)
    return outcome


async def test_what_is_asked_is_sent_and_what_comes_is_read(server: Any) -> None:
    fake = Fake(lambda body: server.chat("7", logprobs=server.digits()))
    reply = await ask(fake, CHAT.model_copy(update={"top_logprobs": 10, "stop": ("\n",)}))
    assert fake.bodies == [
        {
            "model": "my-model",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            "stream": False,
            "temperature": 0.3,
            "max_completion_tokens": 7,
            "seed": 5,
            "stop": ["\n"],
            "logprobs": True,
            "top_logprobs": 10,
        }
    ]
    assert reply.text == "7"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (10, 5)
    assert reply.logprobs is not None
    assert (reply.logprobs[0].token, reply.logprobs[0].logprob) == ("7", -0.1)
    assert dict(reply.logprobs[0].top) == {str(digit): -0.1 if digit == 7 else -4.0 for digit in range(10)}
    await fake.llm.close()


async def test_logprobs_that_do_not_come_are_none(server: Any) -> None:
    fake = Fake(lambda body: server.chat("7"))
    assert (await ask(fake, CHAT.model_copy(update={"top_logprobs": 10}))).logprobs is None
    await ask(fake, CHAT)
    assert ["logprobs" in body for body in fake.bodies] == [True, False]


async def test_a_schema_is_sent_in_its_order_and_a_text_that_breaks_off_is_kept(server: Any) -> None:
    fake = Fake(lambda body: server.chat('{"b": "x", "a', finish="length"))
    reply = await ask(fake, CHAT.model_copy(update={"json_schema": SCHEMA}))
    sent = fake.bodies[0]["response_format"]
    assert (sent["type"], sent["json_schema"]["strict"]) == ("json_schema", True)
    assert list(sent["json_schema"]["schema"]["properties"]) == ["b", "a"]
    assert (reply.text, reply.finish) == ('{"b": "x", "a', "length")


async def test_a_server_of_ones_own_is_sent_the_limit_that_all_of_them_know(server: Any) -> None:
    fake = Fake(lambda body: server.chat("yes"), url="http://127.0.0.1:1/v1")
    await ask(fake, CHAT)
    assert (fake.bodies[0]["max_tokens"], "max_completion_tokens" in fake.bodies[0]) == (7, False)


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5-mini-2025-08-07", "o3-2025-04-16", "gpt-5.1"])
async def test_a_reasoning_model_is_sent_only_what_it_takes(server: Any, model: str) -> None:
    fake = Fake(lambda body: server.chat("one\ntwo"), model=model)
    assert fake.llm.capabilities == {"chat", "json_schema", "tools"}
    reply = await ask(fake, CHAT.model_copy(update={"stop": ("\n",)}))
    (body,) = fake.bodies
    assert not {"temperature", "stop", "logprobs"} & set(body)
    assert body["max_completion_tokens"] == 7 + HIDDEN_TOKENS
    # Of o3 the table does not say which efforts it knows.
    effort = None if model.startswith("o3") else "low"
    assert body.get("reasoning_effort") == fake.llm.identity.get("reasoning_effort") == effort
    # Stop sequences hold all the same.
    assert (reply.text, reply.finish) == ("one", "stop")


async def test_logprobs_are_cut_where_the_text_is(server: Any) -> None:
    tokens: list[dict[str, Any]] = [
        {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []} for token in ("on", "e", "\ntwo", "!")
    ]
    fake = Fake(lambda body: server.chat("one\ntwo!", logprobs=tokens))
    reply = await ask(fake, CHAT.model_copy(update={"stop": ("two", "\n")}))
    assert reply.text == "one"
    assert reply.logprobs is not None
    assert [token.token for token in reply.logprobs] == ["on", "e"]


async def test_what_is_known_of_models_decides_what_they_offer(server: Any) -> None:
    offers = {model: Fake(server.chat, model=model).llm for model in ("gpt-4o-mini", "my-model", "gpt-3.5-turbo", "gpt-5-pro")}
    assert offers["gpt-4o-mini"].capabilities == {"chat", "top_logprobs", "json_schema", "tools"}
    assert offers["my-model"].capabilities == {"chat", "top_logprobs", "json_schema", "tools"}
    assert (offers["gpt-4o-mini"].declares_schema, offers["my-model"].declares_schema) == (True, None)
    assert (offers["gpt-4o-mini"].declares_tools, offers["my-model"].declares_tools) == (True, None)
    assert offers["gpt-3.5-turbo"].capabilities == {"chat", "top_logprobs"}
    # Served through another API, which has neither log-probabilities nor schemas of this form.
    assert offers["gpt-5-pro"].capabilities == {"chat", "tools"}


async def test_a_refusal_is_not_an_answer(server: Any) -> None:
    answer = server.chat("")
    answer["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I will not."}
    reply = await ask(Fake(lambda body: answer), CHAT)
    assert (reply.text, reply.finish) == ("I will not.", "refusal")


@pytest.mark.parametrize(
    ("about", "finish"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"finish_reason": "SAFETY"}, "content_filter"),
        ({"finish_reason": "PROHIBITED_CONTENT"}, "content_filter"),
        ({"stop_reason": "refusal"}, "refusal"),
        ({"finish_reason": "STOP"}, "stop"),
        ({"status": "completed", "incomplete_details": None}, "stop"),
        ({"stop_reason": "end_turn"}, "end_turn"),
    ],
)
async def test_why_a_text_ends_is_told_in_one_way(monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], finish: str) -> None:
    fake = Fake(lambda body: None)

    class Other:
        async def ainvoke(self, *_: object, **__: object) -> AIMessage:
            return AIMessage("", response_metadata=about)

    monkeypatch.setattr(fake.llm, "_ready", lambda request: Other())
    reply = await ask(fake, CHAT)
    assert reply.finish == finish
    assert isinstance(judge(CHAT, reply), Failed) == (finish in ("length", "content_filter", "refusal"))


def response(status: int, message: str = "said", *, code: str | None = None, **headers: str) -> httpx2.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json={"error": {"message": message, "code": code}}, headers=given)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (response(401, f"Incorrect API key provided: {KEY}"), r"refused the key \(401\): put a valid one into OPENAI_API_KEY$"),
        (response(403, f"no, {KEY}"), r"does not allow this \(403: .*\[key\].*OPENAI_API_KEY"),
        (response(402), "does not allow this"),
        (response(429, "pay", code="insufficient_quota"), "does not allow this.*pay"),
        (response(404, "no such model"), "is not there .*no such model.*--base-url"),
        (response(405), "is not there"),
    ],
)
async def test_what_never_succeeds_stops_in_one_line_without_the_key(answer: httpx2.Response, text: str) -> None:
    with pytest.raises(ProviderError, match=text) as caught:
        await Fake(lambda body: answer).llm.answer([CHAT])
    line = str(caught.value)
    assert line.startswith(f"'openai:my-model' at {OPENAI_URL} ")
    assert KEY not in line
    assert "\n" not in line
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("answer", "retry_after", "about"),
    [
        (response(429, "slow", retry_after="7"), 7.0, "endpoint"),
        (response(429, "slow", retry_after="0.5"), 0.5, "endpoint"),
        (response(429, "slow", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0, "endpoint"),
        (response(429, "slow", retry_after="soon"), None, "endpoint"),
        (response(429, "slow"), None, "endpoint"),
        (response(503, "overloaded"), None, "endpoint"),
        (response(500, "oops"), None, "request"),
        (response(408), None, "request"),
        (httpx2.ConnectError("Connection refused"), None, "endpoint"),
        (httpx2.ReadTimeout("slow"), None, "request"),
        (httpx2.RemoteProtocolError("peer closed connection"), None, "endpoint"),
        (httpx2.Response(200, content=b'{"choices": [', headers={"content-type": "application/json"}), None, "request"),
        (httpx2.Response(200, content=b"<html>Welcome</html>", headers={"content-type": "text/html"}), None, "request"),
        (httpx2.Response(200, json={"error": {"message": "overloaded"}}), None, "request"),
        (httpx2.Response(200, json={"choices": None}), None, "request"),
        (httpx2.Response(200, json=[]), None, "request"),
    ],
)
async def test_what_may_succeed_later_is_transient(answer: Any, retry_after: float | None, about: str) -> None:
    fake = Fake(lambda body: answer)
    with pytest.raises(Transient) as caught:
        await fake.llm.answer([CHAT])
    assert (caught.value.retry_after, caught.value.about) == (retry_after, about)
    assert "\n" not in caught.value.reason
    # Repeating is not the client's business.
    assert len(fake.bodies) == 1


async def test_a_date_in_the_future_is_a_wait() -> None:
    answer = response(503, retry_after="Fri, 01 Jan 2100 00:00:00 GMT")
    with pytest.raises(Transient) as caught:
        await Fake(lambda body: answer).llm.answer([CHAT])
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 1e6


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_is_wrong_with_one_request_fails_that_request(status: int) -> None:
    (outcome,) = await Fake(lambda body: response(status, f"too long\nfor {KEY}")).llm.answer([CHAT])
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith(f"rejected ({status}): ")
    assert "too long for [key]" in outcome.reason
