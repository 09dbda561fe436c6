"""A language model that says what it is told to: for tests, and for trying a command without a model."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agents.llm import (
    Capability,
    Chat,
    ChatReply,
    Choice,
    ChoiceReply,
    ReadoutReply,
    Reply,
    Request,
    TokenLogprob,
    ToolReply,
    Usage,
    WrittenCall,
)
from analyzers.errors import Failed, ProviderError

Answer = str | Reply | Failed | BaseException
"""A text, a whole reply, a failure, or an error to be raised."""

_DEFAULT: frozenset[Capability] = frozenset(["chat", "prefill", "json_schema"])


def words(request: Request) -> str:
    """All text of a request."""
    if request.kind != "readout":
        return "\n".join(message.content for message in request.messages)
    return request.prefix + request.head + "".join(request.pieces)


class ScriptedLLM:
    """Answers from a function of the request, or from a sequence, one answer a request in the order in which they are asked.

    A reply without usage is counted by words.
    """

    def __init__(
        self,
        answers: Callable[[Request], Answer] | Sequence[Answer],
        *,
        name: str = "scripted:test",
        identity: Mapping[str, str] | None = None,
        capabilities: frozenset[Capability] = _DEFAULT,
        seconds: float = 0.0,
    ) -> None:
        """seconds: waited before each answer."""
        self.name = name
        self.identity: Mapping[str, str] = identity or {"provider": "scripted", "model": name}
        self.capabilities = capabilities
        self.history: list[Request] = []
        """Every request that was asked, in order."""
        self._answers = answers
        self._seconds = seconds

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JSON file: a list of answers, or `{"rules": [{"contains": text, "reply": answer}], "default": answer}`.

        A list is for a single run: one that was stopped and goes on begins the list anew, whatever was answered; rules do not.
        An answer is a text or an object of `_Entry`. Raises ProviderError for a file that is missing or not of this form.
        """
        try:
            text = path.read_text("utf-8")
            script = _script.validate_python(json.loads(text))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
            raise ProviderError(
                f"{str(path)!r} is not a script ({' '.join(str(error).split())[:200]}): write a JSON list of texts, "
                'or {"rules": [{"contains": "...", "reply": "..."}], "default": "..."}'
            ) from error
        identity = {"provider": "scripted", "model": hashlib.sha256(text.encode()).hexdigest()}
        if isinstance(script, _Rules):
            return cls(script.answer, name=f"scripted:{path}", identity=identity, capabilities=frozenset(script.capabilities))
        queue = iter(script)
        return cls(lambda request: _answer(next(queue, None), request), name=f"scripted:{path}", identity=identity)

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """The answers in order; an error among them is raised."""
        return [await self._one(request) for request in requests]

    async def _one(self, request: Request) -> Reply | Failed:
        position = len(self.history)
        self.history.append(request)
        if callable(self._answers):
            answer = self._answers(request)
        elif position < len(self._answers):
            answer = self._answers[position]
        else:
            raise ProviderError(f"{self.name!r} holds {len(self._answers)} answers, and one more was asked for")
        await asyncio.sleep(self._seconds)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Failed):
            return answer
        if isinstance(answer, str):
            answer = ToolReply(text=answer) if request.kind == "tools" else ChatReply(text=answer)
        reply = answer
        if reply.usage != Usage():
            return reply
        written = _words_written(reply)
        return reply.model_copy(update={"usage": Usage(prompt_tokens=max(1, len(words(request).split())), completion_tokens=written)})


def _words_written(reply: Reply) -> int:
    if reply.kind == "tools":
        return len(reply.text.split()) + sum(1 + len(call.arguments.split()) for call in reply.tool_calls)
    return len(reply.text.split()) if reply.kind == "chat" else 0


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Entry(_Strict):
    """An answer in a script: a text with or without log-probabilities or calls of tools, the log-probabilities of options (readout), or
    a failure."""

    text: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    tool_calls: tuple[WrittenCall, ...] = ()
    """For a conversation with tools."""
    options: dict[str, float] | None = None
    """For a readout, the same at every position, or a choice."""
    failed: str | None = None
    """Fails this request."""
    error: str | None = None
    """Stops the run."""


class _Rule(_Strict):
    contains: str
    reply: str | _Entry


class _Rules(_Strict):
    rules: list[_Rule]
    default: str | _Entry | None = None
    capabilities: list[Capability] = Field(default_factory=lambda: sorted(_DEFAULT))

    def answer(self, request: Request) -> Answer:
        """The reply of the first rule whose text is in the request."""
        text = words(request)
        return _answer(next((rule.reply for rule in self.rules if rule.contains in text), self.default), request)


_script: TypeAdapter[list[str | _Entry] | _Rules] = TypeAdapter(list[str | _Entry] | _Rules)


def _answer(entry: str | _Entry | None, request: Request) -> Answer:
    if entry is None:
        return Failed("ask", "the script has no answer to this request")
    if isinstance(entry, str):
        entry = _Entry(text=entry)
    if entry.error is not None:
        return ProviderError(entry.error)
    if entry.failed is not None:
        return Failed("ask", entry.failed)
    if isinstance(request, Chat):
        if entry.text is None:
            return Failed("ask", "the script has no text for this conversation")
        return entry.text if entry.logprobs is None else ChatReply(text=entry.text, logprobs=entry.logprobs)
    if request.kind == "tools":
        return ToolReply(text=entry.text or "", tool_calls=entry.tool_calls)
    if entry.options is None:
        return Failed("ask", f"the script has no options for this {request.kind}")
    if isinstance(request, Choice):
        known = [entry.options[option] for option in request.options if option in entry.options]
        if len(known) < len(request.options):
            return Failed("ask", "the script lacks an option of this choice")
        return ChoiceReply(logprobs=tuple(known))
    row = tuple(entry.options.get(option) for option in request.options)
    return ReadoutReply(logprobs=(row,) * len(request.after))
