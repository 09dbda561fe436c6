"""The scripted model says what it is told to."""

import json
from pathlib import Path

import pytest

from agents.llm import (
    Chat,
    ChatReply,
    Choice,
    ChoiceReply,
    Message,
    Readout,
    ReadoutReply,
    Request,
    ToolChat,
    ToolReply,
    Turn,
    Usage,
    WrittenCall,
)
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed, ProviderError


def chat(text: str) -> Chat:
    return Chat(messages=(Message(role="system", content="be brief"), Message(role="user", content=text)), max_tokens=5)


READOUT = Readout(prefix="a ", head="b ", pieces=("c", "\t", "?"), after=(1, 2), options=("0", "1", "2"))


async def test_a_sequence_is_said_in_order_and_remembered() -> None:
    llm = ScriptedLLM(["one", Failed("ask", "no"), ReadoutReply(logprobs=((-1.0,),)), OSError("bang"), ChatReply(text="five")])
    first = await llm.answer([chat("a b"), chat("c"), READOUT])
    assert first == [
        ChatReply(text="one", usage=Usage(prompt_tokens=4, completion_tokens=1)),
        Failed("ask", "no"),
        ReadoutReply(logprobs=((-1.0,),), usage=Usage(prompt_tokens=4)),
    ]
    with pytest.raises(OSError, match="bang"):
        await llm.answer([chat("d")])
    assert (await llm.answer([chat("e")]))[0] == ChatReply(text="five", usage=Usage(prompt_tokens=3, completion_tokens=1))
    assert [request.messages[-1].content for request in llm.history if request.kind == "chat"] == ["a b", "c", "d", "e"]
    with pytest.raises(ProviderError, match="holds 5 answers"):
        await llm.answer([chat("f")])


async def test_a_function_sees_the_request() -> None:
    def answer(request: Request) -> str:
        return request.messages[-1].content.upper() if request.kind == "chat" else ""

    (reply,) = await ScriptedLLM(answer).answer([chat("hello")])
    assert isinstance(reply, ChatReply)
    assert reply.text == "HELLO"


async def test_a_file_holds_a_list(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["one", {"failed": "no"}, {"error": "stop"}]))
    llm = ScriptedLLM.load(path)
    outcomes = await llm.answer([chat("a"), chat("b")])
    assert isinstance(outcomes[0], ChatReply)
    assert outcomes[1] == Failed("ask", "no")
    with pytest.raises(ProviderError, match="stop"):
        await llm.answer([chat("c")])
    assert isinstance((await llm.answer([chat("d")]))[0], Failed)
    assert llm.name == f"scripted:{path}"


async def test_a_file_holds_rules_of_which_the_first_that_fits_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    seven = {"text": "7", "logprobs": [{"token": "7", "logprob": -0.1, "top": [["7", -0.1], ["0", -3.0]]}]}
    rules = [{"contains": "bridge", "reply": "a bridge"}, {"contains": "b c", "reply": {"options": {"0": -0.5, "2": -2.0}}}]
    rules += [{"contains": "level", "reply": seven}]
    path.write_text(json.dumps({"rules": rules, "default": "nothing", "capabilities": ["chat", "readout", "top_logprobs"]}))
    llm = ScriptedLLM.load(path)
    assert llm.capabilities == {"chat", "readout", "top_logprobs"}
    outcomes = await llm.answer([chat("the bridge level"), chat("the river"), READOUT, chat("level")])
    assert [outcome.text for outcome in outcomes if isinstance(outcome, ChatReply)] == ["a bridge", "nothing", "7"]
    assert isinstance(outcomes[2], ReadoutReply)
    assert outcomes[2].logprobs == ((-0.5, None, -2.0),) * 2
    assert isinstance(outcomes[3], ChatReply)
    assert outcomes[3].logprobs is not None
    assert outcomes[3].logprobs[0].top == (("7", -0.1), ("0", -3.0))


async def test_a_script_may_call_tools(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    call = {"id": "a", "name": "measure", "arguments": '{"texts": ["x"]}'}
    path.write_text(
        json.dumps({"rules": [{"contains": "go", "reply": {"tool_calls": [call]}}], "default": "done", "capabilities": ["tools"]})
    )
    llm = ScriptedLLM.load(path)
    asked = [ToolChat(messages=(Turn(role="user", content=text),), tools=(), max_tokens=5) for text in ("go now", "stop")]
    called, said = await llm.answer(asked)
    assert called == ToolReply(text="", tool_calls=(WrittenCall(**call),), usage=Usage(prompt_tokens=2, completion_tokens=3))
    assert said == ToolReply(text="done", usage=Usage(prompt_tokens=1, completion_tokens=1))


async def test_options_answer_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    rules = [
        {"contains": "bridge", "reply": {"options": {" yes": -0.5, " no": -2.0, " maybe": -3.0}}},
        {"contains": "town", "reply": "yes"},
    ]
    path.write_text(json.dumps({"rules": rules, "capabilities": ["choice"]}))
    llm = ScriptedLLM.load(path)
    assert llm.capabilities == {"choice"}

    def choice(text: str, *options: str) -> Choice:
        return Choice(messages=(Message(role="user", content=text), Message(role="assistant", content="Answer:")), options=options)

    known, lacking, no_options, unknown = await llm.answer(
        [choice("the bridge", " no", " yes"), choice("the bridge", " no", " never"), choice("a town", " yes"), choice("else", " yes")]
    )
    assert known == ChoiceReply(logprobs=(-2.0, -0.5), usage=Usage(prompt_tokens=3))
    assert lacking == Failed("ask", "the script lacks an option of this choice")
    assert no_options == Failed("ask", "the script has no options for this choice")
    assert isinstance(unknown, Failed)


async def test_identity_is_what_the_file_says(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("1", "2", "3"))
    for path, text in ((one, '["a"]'), (same, '["a"]'), (other, '["b"]')):
        path.write_text(text)
    assert ScriptedLLM.load(one).identity == ScriptedLLM.load(same).identity != ScriptedLLM.load(other).identity


@pytest.mark.parametrize("text", ["{", "3", '{"rules": [{"contains": 1}]}', '[{"txt": "a"}]', '{"rules": [], "more": 1}', None])
def test_what_is_no_script_is_a_plain_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "script.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ProviderError, match=r"^[^\n]*script.json' is not a script[^\n]*\"contains\"[^\n]*$"):
        ScriptedLLM.load(path)
