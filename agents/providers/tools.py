"""Conversations with tools in langchain's messages, and back.

Arguments that are not a JSON object are sent as `{"malformed": text}`: some servers parse the arguments of earlier turns and fail on
others.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agents.llm import Tool, ToolCall, Turn, WrittenCall
from analyzers.whole_text import whole_text

MALFORMED = "malformed"


def parsed(arguments: str) -> dict[str, Any] | None:
    """The arguments of a call; None where they are not a JSON object."""
    try:
        found = json.loads(arguments, parse_constant=_no_number) if arguments.strip() else {}
        # Half a surrogate pair, which JSON can spell, is no text.
        return json.loads(whole_text(json.dumps(found, ensure_ascii=False))) if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def packed(arguments: str) -> dict[str, Any]:
    """The arguments as an object, whatever they are; `unpacked` undoes it."""
    found = parsed(arguments)
    return {MALFORMED: arguments} if found is None else found


def unpacked(arguments: Mapping[str, Any]) -> str:
    """As the model wrote them, where they were malformed; else as JSON."""
    raw = arguments.get(MALFORMED)
    return raw if isinstance(raw, str) and len(arguments) == 1 else json.dumps(arguments, ensure_ascii=False)


def to_messages(turns: Sequence[Turn]) -> list[BaseMessage]:
    """The turns as langchain has them."""
    return [_message(turn) for turn in turns]


def _message(turn: Turn) -> BaseMessage:
    if turn.role == "system":
        return SystemMessage(turn.content)
    if turn.role == "user":
        return HumanMessage(turn.content)
    if turn.role == "tool":
        return ToolMessage(turn.content, tool_call_id=turn.answers)
    return AIMessage(turn.content, tool_calls=[{"id": c.id, "name": c.name, "args": packed(c.arguments)} for c in turn.tool_calls])


def to_turns(messages: Sequence[BaseMessage]) -> tuple[Turn, ...]:
    """The messages as plain data."""
    return tuple(_turn(message) for message in messages)


def _turn(message: BaseMessage) -> Turn:
    text = str(message.text)
    if isinstance(message, AIMessage):
        return Turn(role="assistant", content=text, tool_calls=calls_of(message))
    if isinstance(message, ToolMessage):
        return Turn(role="tool", content=text, answers=message.tool_call_id)
    return Turn(role="system" if isinstance(message, SystemMessage) else "user", content=text)


def calls_of(message: AIMessage) -> tuple[ToolCall, ...]:
    """The calls that a model asks for; those that langchain cannot read come last, as they were written."""
    good = [ToolCall(id=call["id"] or "", name=call["name"], arguments=unpacked(call["args"])) for call in message.tool_calls]
    bad = [
        ToolCall(id=call.get("id") or "", name=call.get("name") or "", arguments=call.get("args") or "")
        for call in message.invalid_tool_calls
    ]
    return (*good, *bad)


def written(calls: Sequence[ToolCall]) -> tuple[WrittenCall, ...]:
    """The calls as a reply holds them."""
    return tuple(WrittenCall(**call.model_dump()) for call in calls)


def to_function(tool: Tool) -> dict[str, Any]:
    """A tool as OpenAI has it, which langchain takes for every provider."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
