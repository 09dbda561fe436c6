"""Conversations with tools: what is sent to an endpoint of the OpenAI family, what is read back, and what is malformed."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from agents.experimenter.model import LLMChatModel, Unanswered
from agents.llm import Tool, ToolCall, ToolChat, ToolReply, Turn
from agents.metered import judge
from agents.providers.chat import HIDDEN_TOKENS, ChatLLM
from agents.providers.faults import OPENAI_URL, Endpoint
from agents.providers.scripted import ScriptedLLM
from agents.providers.tools import packed, parsed, to_messages, to_turns, unpacked
from agents.retry import Transient
from analyzers.errors import Failed

KEY = "sk-test-0123456789abcdef"
SCHEMA = {"type": "object", "properties": {"texts": {"type": "array", "items": {"type": "string"}}}, "required": ["texts"]}
TOOL = Tool(name="measure", description="Measure texts.", parameters=SCHEMA)
TURNS = (
    Turn(role="system", content="be brief"),
    Turn(role="user", content="go"),
    Turn(
        role="assistant",
        content="trying",
        tool_calls=(
            ToolCall(id="a1", name="measure", arguments='{"texts": ["x"]}'),
            ToolCall(id="a2", name="measure", arguments='{"texts"'),
        ),
    ),
    Turn(role="tool", content="10", answers="a1"),
    Turn(role="tool", content="no JSON", answers="a2"),
)
REQUEST = ToolChat(messages=TURNS, tools=(TOOL,), max_tokens=7, temperature=0.3, seed=5)


class Fake:
    """Stands for the endpoint; keeps the bodies it was sent."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any], *, model: str = "my-model", url: str = OPENAI_URL) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer = answer
        http = openai.DefaultAsyncHttpxClient(transport=httpx2.MockTransport(self._handle))
        self.llm = ChatLLM(
            "openai", model, key=KEY, endpoint=Endpoint(f"openai:{model}", url, "OPENAI_API_KEY", (KEY,)), timeout=5, http=http
        )

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        answer = self.answer(body)
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)


def calling(server: Any, *calls: tuple[str | None, str, str | None], text: str | None = None, finish: str = "tool_calls") -> dict[str, Any]:
    """A completion that calls tools: (id, name, arguments) each."""
    reply: dict[str, Any] = server.chat("", finish=finish)
    listed = [{"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}} for id_, name, arguments in calls]
    reply["choices"][0]["message"] = {"role": "assistant", "content": text, "tool_calls": listed}
    return reply


async def ask(fake: Fake, request: ToolChat = REQUEST) -> ToolReply:
    (outcome,) = await fake.llm.answer([request])
    assert isinstance(outcome, ToolReply)
    return outcome


async def test_what_is_asked_is_sent_and_what_comes_is_read(server: Any) -> None:
    fake = Fake(lambda body: calling(server, ("b1", "measure", '{"texts": ["y"]}'), ("b2", "other", ""), text="next"))
    reply = await ask(fake)
    (body,) = fake.bodies
    assert body["tools"] == [{"type": "function", "function": {"name": "measure", "description": "Measure texts.", "parameters": SCHEMA}}]
    assert "tool_choice" not in body
    assert (body["temperature"], body["max_completion_tokens"], body["seed"]) == (0.3, 7, 5)
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    sent = body["messages"][2]["tool_calls"]
    assert [(call["id"], call["function"]["name"]) for call in sent] == [("a1", "measure"), ("a2", "measure")]
    # All JSON, whatever the model wrote: servers parse it.
    assert [json.loads(call["function"]["arguments"]) for call in sent] == [{"texts": ["x"]}, {"malformed": '{"texts"'}]
    assert [(message["tool_call_id"], message["content"]) for message in body["messages"][3:]] == [("a1", "10"), ("a2", "no JSON")]
    assert reply.text == "next"
    assert [(call.id, call.name, json.loads(call.arguments)) for call in reply.tool_calls] == [
        ("b1", "measure", {"texts": ["y"]}),
        ("b2", "other", {}),
    ]
    assert (reply.finish, reply.usage.prompt_tokens, reply.usage.completion_tokens) == ("tool_calls", 10, 5)
    await fake.llm.close()


async def test_a_call_can_be_made_obligatory(server: Any) -> None:
    fake = Fake(lambda body: calling(server, ("b1", "measure", "{}")), url="http://127.0.0.1:1/v1")
    await ask(fake, REQUEST.model_copy(update={"required": True}))
    assert fake.bodies[0]["tool_choice"] == "required"
    assert (fake.bodies[0]["max_tokens"], "max_completion_tokens" in fake.bodies[0]) == (7, False)


async def test_a_reasoning_model_is_given_room_and_no_temperature(server: Any) -> None:
    fake = Fake(lambda body: calling(server, ("b1", "measure", "{}")), model="gpt-5-mini")
    await ask(fake)
    assert "temperature" not in fake.bodies[0]
    assert fake.bodies[0]["max_completion_tokens"] == 7 + HIDDEN_TOKENS


@pytest.mark.parametrize("arguments", ['{"texts": ["y"', "not json", "{'a': 1}"])
async def test_malformed_arguments_come_as_they_were_written(server: Any, arguments: str) -> None:
    reply = await ask(Fake(lambda body: calling(server, ("b1", "measure", arguments), ("b2", "measure", '{"texts": []}'))))
    assert {call.id: call.arguments for call in reply.tool_calls} == {"b1": arguments, "b2": '{"texts": []}'}


@pytest.mark.parametrize("arguments", ["[1]", '"x"', "3"])
async def test_arguments_that_are_no_object_lose_the_turn_and_not_the_run(server: Any, arguments: str) -> None:
    reply = await ask(Fake(lambda body: calling(server, ("b1", "measure", arguments))))
    assert (reply.text, reply.tool_calls, reply.finish) == ("", (), "malformed")
    assert judge(REQUEST, reply) == reply


async def test_words_alone_are_a_reply(server: Any) -> None:
    reply = await ask(Fake(lambda body: server.chat("it is heat")))
    assert (reply.text, reply.tool_calls) == ("it is heat", ())


async def test_a_turn_that_was_cut_off_is_one_only_with_a_call(server: Any) -> None:
    cut = await ask(Fake(lambda body: calling(server, ("b1", "measure", '{"te'), finish="length")))
    assert judge(REQUEST, cut) == cut
    nothing = await ask(Fake(lambda body: server.chat("", finish="length")))
    assert isinstance(judge(REQUEST, nothing), Failed)


@pytest.mark.parametrize(("status", "fails"), [(400, True), (422, True), (503, False), (500, False)])
async def test_failures_mean_what_they_mean_elsewhere(status: int, fails: bool) -> None:
    fake = Fake(lambda body: httpx2.Response(status, json={"error": {"message": "no tools here"}}))
    if fails:
        (outcome,) = await fake.llm.answer([REQUEST])
        assert isinstance(outcome, Failed)
        assert outcome.reason.startswith(f"rejected ({status})")
    else:
        with pytest.raises(Transient):
            await fake.llm.answer([REQUEST])


async def test_another_provider_is_asked_through_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chat model of another family is handed: langchain's messages, tools by `bind_tools`."""
    seen: dict[str, Any] = {}

    class Other:
        def bind_tools(self, tools: Any, **changes: Any) -> "Other":
            seen.update(tools=tools, **changes)
            return self

        async def ainvoke(self, messages: Any, **extras: Any) -> AIMessage:
            seen.update(messages=messages, extras=extras)
            usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
            content: list[str | dict[str, Any]] = [
                {"type": "text", "text": "next"},
                {"type": "tool_use", "id": "t", "name": "measure", "input": {}},
            ]
            calls = [{"id": "t", "name": "measure", "args": {"texts": ["y"]}}]
            return AIMessage(content, tool_calls=calls, usage_metadata=usage, response_metadata={"stop_reason": "tool_use"})  # type: ignore[arg-type]

    fake = Fake(lambda body: None)
    monkeypatch.setattr(fake.llm, "_ready", lambda request: Other())
    monkeypatch.setattr(fake.llm, "_completions", False)
    reply = await ask(fake, REQUEST.model_copy(update={"required": True}))
    assert seen["tool_choice"] == "any"
    assert seen["extras"] == {}
    assert to_turns(seen["messages"])[:2] == TURNS[:2]
    assert (reply.text, reply.tool_calls[0].arguments, reply.finish) == ("next", '{"texts": ["y"]}', "tool_use")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_arguments_survive_the_way_there_and_back(arguments: dict[str, Any]) -> None:
    raw = json.dumps(arguments)
    assert parsed(raw) == arguments
    assert json.loads(unpacked(packed(raw))) == arguments or set(arguments) == {"malformed"}


@given(st.text().filter(lambda text: parsed(text) is None))
def test_malformed_arguments_survive_it_too(text: str) -> None:
    assert unpacked(packed(text)) == text


@pytest.mark.parametrize("raw", ["[1]", "3", "null", '{"a": NaN}', '{"a": -Infinity}', "{", "[" * 100_000])
def test_what_is_no_object_is_malformed(raw: str) -> None:
    assert parsed(raw) is None


def test_turns_survive_the_way_there_and_back() -> None:
    back = to_turns(to_messages(TURNS))
    assert back == TURNS


async def test_langchain_runs_on_a_model_of_ours() -> None:
    llm = ScriptedLLM(
        [
            ToolReply(text="", tool_calls=({"id": "k", "name": "measure", "arguments": '{"texts": ["z"]}'},)),  # type: ignore[arg-type]
            Failed("ask", "rejected (400)"),
        ],
        capabilities=frozenset({"tools"}),
    )
    model = LLMChatModel(llm=llm, max_tokens=9, seed=4).bind_tools(
        [{"type": "function", "function": {"name": "measure", "description": "Measure texts.", "parameters": SCHEMA}}], tool_choice="any"
    )
    message = await model.ainvoke([("system", "be brief"), ("user", "go")])
    assert isinstance(message, AIMessage)
    assert message.tool_calls == [{"id": "k", "name": "measure", "args": {"texts": ["z"]}, "type": "tool_call"}]
    assert llm.history == [ToolChat(messages=TURNS[:2], tools=(TOOL,), max_tokens=9, seed=4, required=True)]
    with pytest.raises(Unanswered, match="rejected"):
        await model.ainvoke("go")
    with pytest.raises(NotImplementedError):
        model.invoke("go")
