"""A chat model behind any provider that langchain knows, or any OpenAI-compatible server."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agents.llm import Capability, Chat, ChatReply, Reply, Request, TokenLogprob, ToolChat, ToolReply, Usage
from agents.prices import undated
from agents.providers.faults import OPENAI_URL, Endpoint, Refused, translated
from analyzers.errors import Failed, ProviderError

if TYPE_CHECKING:
    from httpx2 import AsyncClient
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

REASONING_EFFORT = "low"
HIDDEN_TOKENS = 2048
"""Room that a reasoning model is given beside the answer: it thinks in tokens that count against the same limit."""

_FINISHES: Mapping[str, str] = {
    **dict.fromkeys(("max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(
        ("safety", "recitation", "blocklist", "prohibited_content", "spii", "content_filtered", "guardrail_intervened"), "content_filter"
    ),
}
"""What providers call a text that was cut off or held back, in lower case, as OpenAI calls it."""


class ChatLLM:
    """One model of one provider; each request is one call, not repeated here.

    What a model takes is read from langchain's table of models: a reasoning model is given a low effort and room to think, and neither
    temperature, stop sequences nor log-probabilities, which it would refuse. Of a model not in that table nothing is known; `connect`
    finds out by asking.
    """

    def __init__(
        self, provider: str, model: str, *, key: str | None, endpoint: Endpoint, timeout: float, http: "AsyncClient | None" = None
    ) -> None:
        """http: takes the place of the HTTP client, for providers of the OpenAI family."""
        from langchain_openai.chat_models.base import BaseChatOpenAI

        self.name = endpoint.name
        self._provider = provider
        self._model = model
        self._key = key
        self._timeout = timeout
        self.endpoint = endpoint
        self._http = http
        if provider == "openai" and http is None:
            from openai import DefaultAsyncHttpxClient

            # A client of our own: langchain shares one among all models and event loops.
            self._http = DefaultAsyncHttpxClient(timeout=timeout)
        self._built: dict[tuple[float, int], BaseChatModel] = {}
        first = self._build({})
        profile: Mapping[str, Any] = first.profile or {}
        if not profile and undated(model) != model:
            profile = self._build({"model": undated(model)}).profile or {}
        self._completions = isinstance(first, BaseChatOpenAI) and not first.use_responses_api
        """Whether OpenAI's chat completions are spoken, whose extras (seed, logprobs, response_format) are known."""
        self.reasons: bool = isinstance(first, BaseChatOpenAI) and bool(profile.get("reasoning_output"))
        self.declares_schema: bool | None = profile.get("structured_output") if self._completions else False
        """Whether the model keeps to a JSON schema; None where the table does not say."""
        self.declares_tools: bool | None = profile.get("tool_calling")
        """Whether the model calls tools; None where the table does not say."""
        self.capabilities: frozenset[Capability] = frozenset(["chat"])
        if self.declares_tools is not False:
            self.capabilities |= {"tools"}
        if self._completions and self.declares_schema is not False:
            self.capabilities |= {"json_schema"}
        if self._completions and not self.reasons:
            self.capabilities |= {"top_logprobs"}
        self._effort = REASONING_EFFORT if self.reasons and REASONING_EFFORT in profile.get("reasoning_effort_levels", ()) else None
        # langchain writes max_completion_tokens, which older OpenAI-compatible servers overlook and then write on without end.
        own_server = provider == "openai" and endpoint.url != OPENAI_URL
        self._limit = "max_tokens" if own_server and not self.reasons else "max_completion_tokens"
        self.hidden_tokens = HIDDEN_TOKENS if self.reasons else 0

    @property
    def identity(self) -> Mapping[str, str]:
        identity = {"provider": self._provider, "model": self._model, "base_url": self.endpoint.url}
        return identity if self._effort is None else {**identity, "reasoning_effort": self._effort}

    def _build(self, settings: Mapping[str, Any]) -> "BaseChatModel":
        from langchain.chat_models import init_chat_model

        given: dict[str, Any] = {"model": self._model, "timeout": self._timeout, "max_retries": 0, **settings}
        if self.endpoint.url:
            given["base_url"] = self.endpoint.url
        if self._key is not None:
            given["api_key"] = self._key
        if self._provider == "openai":
            given.update(http_async_client=self._http, http_socket_options=())
        model: BaseChatModel = init_chat_model(model_provider=self._provider, **given)
        return model

    def _ready(self, request: Chat | ToolChat) -> "BaseChatModel":
        settings = (request.temperature, request.max_tokens)
        if settings not in self._built:
            given: dict[str, Any] = {}
            if self._limit == "max_completion_tokens":
                given["max_tokens"] = request.max_tokens + self.hidden_tokens
            if not self.reasons:
                given["temperature"] = request.temperature
            if self._effort is not None:
                given["reasoning_effort"] = self._effort
            self._built[settings] = self._build(given)
        return self._built[settings]

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """One call a request, one after the other; raises Transient for what may succeed later, ProviderError for what never will."""
        return [await self._one(request) for request in requests]

    async def _one(self, request: Request) -> Reply | Failed:
        if request.kind == "tools":
            return await self._with_tools(request)
        if request.kind != "chat":
            raise ProviderError(f"{self.name!r} is a chat model and cannot read out log-probabilities of a given text; use local: or echo:")
        extras: dict[str, Any] = {}
        # In the body rather than as arguments: langchain's parsing of a schema would drop a text that breaks off.
        body: dict[str, Any] = {"max_tokens": request.max_tokens} if self._limit == "max_tokens" else {}
        if request.stop and not self.reasons:
            extras["stop"] = list(request.stop)
        if self._completions:
            extras["seed"] = request.seed
            if request.top_logprobs:
                extras.update(logprobs=True, top_logprobs=request.top_logprobs)
            if request.json_schema is not None:
                schema = {"name": "reply", "strict": True, "schema": dict(request.json_schema)}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if body:
            extras["extra_body"] = body
        try:
            with translated(self.endpoint):
                message: AIMessage = await self._ready(request).ainvoke([(m.role, m.content) for m in request.messages], **extras)
                return _reply(message, request)
        except Refused as refusal:
            return Failed("ask", refusal.reason)

    async def _with_tools(self, request: ToolChat) -> Reply | Failed:
        from agents.providers.tools import to_function, to_messages

        extras: dict[str, Any] = {"seed": request.seed} if self._completions else {}
        if self._limit == "max_tokens":
            extras["extra_body"] = {"max_tokens": request.max_tokens}
        try:
            with translated(self.endpoint):
                model = self._ready(request)
                able = model.bind_tools([to_function(tool) for tool in request.tools], tool_choice="any" if request.required else None)
                try:
                    message = await able.ainvoke(to_messages(request.messages), **extras)
                except ValidationError:
                    # langchain takes no arguments that are JSON and yet no object; what else was said is lost with them.
                    return ToolReply(text="", finish="malformed")
                return _tool_reply(message)
        except Refused as refusal:
            return Failed("ask", refusal.reason)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()


def _text(message: "AIMessage") -> tuple[str, str]:
    """What was said, and why it ends."""
    refusal = message.additional_kwargs.get("refusal")
    return (str(refusal), "refusal") if refusal else (str(message.text), _finish(message.response_metadata))


def _usage(message: "AIMessage") -> Usage:
    usage = message.usage_metadata
    return Usage() if usage is None else Usage(prompt_tokens=usage["input_tokens"], completion_tokens=usage["output_tokens"])


def _tool_reply(message: "AIMessage") -> ToolReply:
    from agents.providers.tools import calls_of, written

    text, finish = _text(message)
    return ToolReply(text=text, tool_calls=written(calls_of(message)), finish=finish, usage=_usage(message))


def _reply(message: "AIMessage", request: Chat) -> ChatReply:
    about = message.response_metadata
    text, finish = _text(message)
    tokens = _logprobs(about.get("logprobs"))
    # A model that does not know stop sequences is cut by us; for one that does there is nothing to cut.
    end = min((at for at in map(text.find, request.stop) if at >= 0), default=len(text))
    if end < len(text):
        text, finish = text[:end], "stop"
        tokens = None if tokens is None else _until(tokens, end)
    return ChatReply(text=text, logprobs=tokens, finish=finish, usage=_usage(message))


def _finish(about: Mapping[str, Any]) -> str:
    """Why the text ends, in OpenAI's words: `stop`, `length`, `content_filter`, `refusal`; anything else in the provider's own."""
    incomplete = about.get("incomplete_details") or {}
    given = incomplete.get("reason") or about.get("finish_reason") or about.get("stop_reason") or about.get("stopReason") or "stop"
    finish = str(given).lower()
    return _FINISHES.get(finish, finish)


def _logprobs(raw: Any) -> tuple[TokenLogprob, ...] | None:
    content = raw.get("content") if isinstance(raw, dict) else None
    if not content:
        return None
    return tuple(
        TokenLogprob(
            token=entry["token"],
            logprob=_number(entry["logprob"]),
            top=tuple((option["token"], _number(option["logprob"])) for option in entry.get("top_logprobs") or ()),
        )
        for entry in content
    )


def _number(raw: float | None) -> float:
    return -math.inf if raw is None else float(raw)


def _until(tokens: Sequence[TokenLogprob], end: int) -> tuple[TokenLogprob, ...]:
    kept: list[TokenLogprob] = []
    length = 0
    for token in tokens:
        length += len(token.token)
        if length > end:
            break
        kept.append(token)
    return tuple(kept)
