"""From what the user wrote to a language model that can be asked: the provider, and everything that stands around its calls."""

import asyncio
import difflib
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from agents.budget import Budget
from agents.cache import ReplyCache
from agents.llm import Chat, ChatReply, Message, Tool, ToolCall, ToolChat, ToolReply, Turn
from agents.metered import Metered
from agents.prices import FREE, Price, listed_price
from agents.providers.faults import OPENAI_URL, REJECTED, Endpoint, checked_url
from agents.retry import GIVEN_UP, Sleep
from agents.transcript import OnCall
from analyzers.errors import Failed, ProviderError
from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from agents.providers.chat import ChatLLM

FORMS = "local:NAME, openai:MODEL (or any provider of langchain, such as anthropic:MODEL), echo:MODEL, scripted:FILE"
OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
"""Sent to a server of the user's own where the environment holds no key."""

LOCAL_BATCH: Mapping[str, int] = MappingProxyType({"chat": 16, "readout": 16, "choice": 256})
"""Requests that the local model is handed at once: enough to share a prefix, or all perturbations of a text, few enough to lose little
when killed."""

_KEY_LENGTH = 16
"""Characters; a shorter value in the environment is taken for a setting rather than for a provider's key."""

_KNOWN = ("local", "echo", "scripted", "openai", "azure_openai", "anthropic", "google_genai", "mistralai", "groq", "deepseek", "xai")
_COLOUR: Mapping[str, object] = MappingProxyType(
    {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"], "additionalProperties": False}
)
PROBED_LOGPROBS = 20
"""Alternatives a token that `top_logprobs` promises: OpenAI's most."""


async def connect(
    spec: str,
    *,
    base_url: str | None = None,
    budget: Budget,
    cache: ReplyCache | None,
    concurrency: int = 8,
    timeout: float = 60.0,
    on_call: OnCall | None = None,
    price: Price | None = None,
    report: Report = quiet,
    sleep: Sleep = asyncio.sleep,
    dtype: str = "auto",
    device: str = "auto",
    tools: bool = False,
    batch: bool = False,
) -> Metered:
    """Connect to the language model that `spec` names, find out what it can do, and return it with everything around its calls.

    spec: `local:NAME`, `echo:MODEL`, `scripted:FILE` or `PROVIDER:MODEL`. base_url: an OpenAI-compatible server, for `openai:` and
    `echo:`; `local:` and `scripted:` ask none and take no notice. concurrency: calls at the same time. timeout: seconds for one try of
    one call. price: in place of the listed one. report: told how the fetching and loading of a local model goes. sleep: waits between
    tries. dtype, device: of a local model, as in Engine.load. tools: find out, too, whether a model of which nothing is known calls
    tools; without, it is taken not to. batch: ask `openai:` by batches, at half the listed price (a given price holds as it is), as
    many at once as may be, whatever concurrency says; only what the model can do is asked by calls, which are accounted for as
    `SPEC (live)`. `local:` and `scripted:` take no notice.

    Raises ProviderError for what the user can mend (unknown form, no key, wrong key, unreachable, unable), LimitReached where the
    budget does not even allow to ask what the model can do. Close what it returns.
    """
    provider, _, model = spec.partition(":")
    if not provider or not model:
        close = difflib.get_close_matches(provider, _KNOWN, n=1)
        guess = f"{close[0]}:MODEL" if close else f"openai:{spec or 'MODEL'}"
        raise ProviderError(f"{spec!r} is not a language model; write {FORMS}. Did you mean {guess!r}?")
    if base_url is not None and provider not in ("openai", "echo", "local", "scripted"):
        raise ProviderError(
            f"{spec!r} has no base URL ({base_url!r}); for an OpenAI-compatible server write openai:{model} or echo:{model}"
        )
    if batch and provider not in ("openai", "local", "scripted"):
        raise ProviderError(f"{spec!r} cannot be asked by batches, only openai:MODEL can: leave out --batch, or name another model")
    if provider == "local":
        from agents.providers.local import LocalLLM

        local = LocalLLM(spec, dtype=dtype, device=device, report=report)
        return Metered(local, budget=budget, cache=cache, price=FREE, batch=LOCAL_BATCH, shares=True, on_call=on_call)
    if provider == "scripted":
        from agents.providers.scripted import ScriptedLLM

        # One at a time, so that the answers of a list are given in order.
        return Metered(ScriptedLLM.load(Path(model)), budget=budget, cache=cache, price=price or FREE, on_call=on_call)
    endpoint, key = _endpoint(spec, provider, base_url)
    listed = price is None and endpoint.url in ("", OPENAI_URL)
    if listed:
        price = listed_price("openai" if provider == "echo" else provider, model)
    if provider == "echo":
        from agents.providers.echo import EchoLLM, check_alignment

        reader = EchoLLM(model, key=key or NO_KEY, endpoint=endpoint, timeout=timeout)
        echo = Metered(
            reader,
            budget=budget,
            cache=cache,
            price=price,
            lanes=concurrency,
            timeout=timeout,
            redact=endpoint.redact,
            on_call=on_call,
            sleep=sleep,
        )
        async with _closed_on_error(echo):
            await check_alignment(echo, endpoint)
        return echo
    live = replace(endpoint, name=f"{spec} (live)") if batch else endpoint
    chat = _chat(provider, model, key, live, timeout)
    asked = Metered(
        chat,
        budget=budget,
        cache=cache,
        price=price,
        lanes=concurrency,
        timeout=timeout,
        hidden_tokens=chat.hidden_tokens,
        redact=endpoint.redact,
        on_call=on_call,
        sleep=sleep,
    )
    async with _closed_on_error(asked):
        await _probe(asked, declares_schema=chat.declares_schema)
        if chat.declares_tools is None:
            await _probe_tools(asked, ask=tools)
    if not batch:
        return asked
    await asked.close()
    from agents.providers.batch import LANES, Batched, BatchLLM, discounted

    by_batch = BatchLLM(
        model,
        key=key or NO_KEY,
        endpoint=endpoint,
        timeout=timeout,
        notes=None if cache is None else cache.path,
        report=report,
        sleep=sleep,
    )
    batched = Batched(
        by_batch,
        budget=budget,
        cache=cache,
        price=discounted(price) if listed and price is not None else price,
        lanes=LANES,
        hidden_tokens=by_batch.hidden_tokens,
        redact=endpoint.redact,
        on_call=on_call,
        sleep=sleep,
    )
    batched.capabilities = asked.capabilities
    return batched


@asynccontextmanager
async def _closed_on_error(llm: Metered) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(llm.close)
        yield
        stack.pop_all()


def _endpoint(spec: str, provider: str, base_url: str | None) -> tuple[Endpoint, str | None]:
    """Where a remote model is asked, and its key where the environment holds one."""
    if provider not in ("openai", "echo"):
        # langchain's package for the provider finds key and URL itself; what it may find is not to be shown.
        secrets = tuple(value for name, value in os.environ.items() if name.endswith(("_KEY", "_TOKEN")) and len(value) >= _KEY_LENGTH)
        return Endpoint(spec, "", f"{provider.upper()}_API_KEY", secrets), None
    given = base_url or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or OPENAI_URL
    url = checked_url(given)
    key = os.environ.get(OPENAI_KEY, "").strip() or None
    if key is None and url == OPENAI_URL:
        raise ProviderError(
            f"{spec!r} needs a key: put it into the environment as {OPENAI_KEY}, or name a server of your own with --base-url, "
            "or a model that needs no key: local:qwen2.5-coder-0.5b"
        )
    return Endpoint(spec, url, OPENAI_KEY, () if key is None else (key,)), key


def _chat(provider: str, model: str, key: str | None, endpoint: Endpoint, timeout: float) -> "ChatLLM":
    from openai import OpenAIError

    from agents.providers.chat import ChatLLM

    if provider == "openai" and key is None:
        key = NO_KEY
    try:
        return ChatLLM(provider, model, key=key, endpoint=endpoint, timeout=timeout)
    except ImportError as error:
        raise ProviderError(f"{endpoint} needs a package that is not installed: {endpoint.quote(str(error))}") from None
    except (ValueError, TypeError, OpenAIError) as error:
        close = difflib.get_close_matches(provider, _KNOWN, n=1)
        guess = f". Did you mean '{close[0]}:{model}'?" if close and close[0] != provider else ""
        raise ProviderError(
            f"{endpoint} cannot be set up ({endpoint.quote(str(error))}); write {FORMS}, with the key in {endpoint.variable}{guess}"
        ) from None


def _question(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


async def _probe(llm: Metered, *, declares_schema: bool | None) -> None:
    """Withdraw what the model does not do after all: two tiny calls at most, in the cache like others, none where all is declared.

    Only an answer withdraws something; raises ProviderError where none comes.
    """
    if "top_logprobs" in llm.capabilities:
        digit = Chat(messages=_question("Answer with the digit 7 and nothing else."), max_tokens=16, top_logprobs=PROBED_LOGPROBS)
        if isinstance(await _tried(llm, digit), Failed):
            llm.capabilities -= {"top_logprobs"}
    if "json_schema" in llm.capabilities and declares_schema is None:
        # Asked for something else than the schema allows: only a model that is held to the schema answers with it.
        schema = {
            "type": "object",
            "properties": {"animal": {"type": "string", "enum": ["zebra"]}},
            "required": ["animal"],
            "additionalProperties": False,
        }
        request = Chat(messages=_question("Name a colour, in one word."), max_tokens=32, json_schema=schema)
        outcome = await _tried(llm, request)
        if isinstance(outcome, Failed) or not _is_json(outcome.text, {"animal": "zebra"}):
            llm.capabilities -= {"json_schema"}


async def _probe_tools(llm: Metered, *, ask: bool) -> None:
    """Withdraw `tools` from a model that calls none when it must, or cannot go on with the result of a call; without asking, always."""
    if not ask:
        llm.capabilities -= {"tools"}
        return
    tool = Tool(name="tell_colour", description="Tell a colour.", parameters=_COLOUR)
    turns = [Turn(role="user", content="Tell the colour of snow.")]
    first = await _tried(llm, ToolChat(messages=tuple(turns), tools=(tool,), max_tokens=128, required=True))
    if isinstance(first, ToolReply) and any(call.name == tool.name for call in first.tool_calls):
        call = next(call for call in first.tool_calls if call.name == tool.name)
        asked = ToolCall(id=call.id or "call-1", name=call.name, arguments=call.arguments)
        turns += [Turn(role="assistant", content=first.text, tool_calls=(asked,)), Turn(role="tool", content="Told.", answers=asked.id)]
        if not isinstance(await _tried(llm, ToolChat(messages=tuple(turns), tools=(tool,), max_tokens=128)), Failed):
            return
    llm.capabilities -= {"tools"}


async def _tried(llm: Metered, request: Chat | ToolChat) -> ChatReply | ToolReply | Failed:
    outcome = (await llm.answer([request]))[0]
    if isinstance(outcome, Failed) and outcome.reason.endswith(GIVEN_UP):
        # Says nothing about the model: with an ability less the run would quietly use another simulator.
        raise ProviderError(f"what {llm.name!r} can do cannot be found out: {outcome.reason}; run the same command again when it is back")
    if isinstance(outcome, Failed) and outcome.reason.startswith(REJECTED):
        # Remembered, so that a repeated run asks nothing. Other rejections are not: they cost nothing and may be mended.
        llm.remember(request, (ChatReply if request.kind == "chat" else ToolReply)(text="", finish=REJECTED))
    assert isinstance(outcome, Failed) or outcome.kind in ("chat", "tools")
    return outcome


def _is_json(text: str, expected: object) -> bool:
    try:
        return bool(json.loads(text) == expected)
    except ValueError:
        return False
