"""What stands around every call: the reply cache, the budget, retries, a deadline, bounded concurrency, and the transcript."""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from agents.budget import Budget, Estimate, estimate
from agents.cache import ReplyCache, request_key
from agents.llm import LLM, Capability, Reply, Request, Usage
from agents.prices import Price
from agents.providers.faults import REJECTED
from agents.retry import GIVEN_UP, Sleep, Transient, retrying
from agents.transcript import CallRecord, OnCall
from analyzers.errors import Failed, ProviderError
from analyzers.whole_text import whole_text

PATIENCE = 3
"""Requests in a row, none answered between them, that may fail for good before the endpoint itself is held to be out of order."""

Outcome = Reply | Failed
_log = logging.getLogger(__name__)


def judge(request: Request, reply: Reply) -> Outcome:
    """A reply that does not hold what was asked for is a failure, whatever the status it came with."""
    if reply.kind == "readout":
        if request.kind == "readout" and request.after and not any(value is not None for row in reply.logprobs for value in row):
            return Failed("ask", "missing logprobs: the endpoint returned none of the options at any position")
        return reply
    if reply.kind == "choice":
        return reply
    if reply.finish == "refusal":
        return Failed("ask", f"refused: {' '.join(reply.text.split())[:200]}")
    if reply.finish == "content_filter":
        return Failed("ask", "stopped by the provider's content filter")
    if reply.finish == REJECTED:
        return Failed("ask", f"{REJECTED} before")
    if reply.finish == "length" and not reply.text and not (reply.kind == "tools" and reply.tool_calls):
        return Failed("ask", "the reply broke off before any text: the model needs more max_tokens")
    if request.kind == "chat" and reply.kind == "chat" and request.top_logprobs and not reply.logprobs:
        return Failed("ask", "missing logprobs: the endpoint returned none")
    return reply


def needs(request: Request) -> set[Capability]:
    """What a language model must be able to do to answer."""
    if request.kind != "chat":
        return {request.kind}
    needed: set[Capability] = {"chat"}
    if request.messages and request.messages[-1].role == "assistant":
        needed.add("prefill")
    if request.top_logprobs:
        needed.add("top_logprobs")
    if request.json_schema is not None:
        needed.add("json_schema")
    return needed


class Metered:
    """A language model with cache, budget, retries, deadline, bounded concurrency and transcript around it.

    Equal requests, in one batch or under way at the same time, are asked once. A reply is in the cache before anyone sees it, so that
    nothing that was answered is asked again, whatever happens next. A request that was given up is asked once more after all others of
    its call. A try that may have been answered, though nothing came back that can be read, counts at its upper estimate. What is handed
    over in one call is decided by the requests alone, and its replies come into the cache together: a model whose last bits depend on
    what it computes at the same time gives the same bytes when a run that was stopped goes on. It belongs to one event loop.
    """

    def __init__(
        self,
        base: LLM,
        *,
        budget: Budget,
        cache: ReplyCache | None,
        price: Price | None,
        lanes: int = 1,
        batch: Mapping[str, int] | None = None,
        timeout: float | None = None,
        hidden_tokens: int = 0,
        shares: bool = False,
        redact: Callable[[str], str] = str,
        on_call: OnCall | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """lanes: calls at the same time; batch: by kind, requests handed to `base` in one call, 1 where not named; timeout: seconds for
        one try of one call; hidden_tokens and shares: as in `Budget.admit`."""
        budget.admit(base.name, price, lanes=lanes, hidden_tokens=hidden_tokens, shares=shares)
        self.name = base.name
        self.identity: Mapping[str, str] = base.identity
        self.capabilities: frozenset[Capability] = base.capabilities
        self.base = base
        self._budget = budget
        self._cache = cache
        self._price = price
        self._lanes = asyncio.Semaphore(lanes)
        self._batch = batch or {}
        self._timeout = timeout
        self._hidden_tokens = hidden_tokens
        self._redact = redact
        self._on_call = on_call
        self._sleep = sleep
        self._under_way: dict[str, asyncio.Task[dict[str, Outcome]]] = {}
        self._failures = 0
        """Requests in a row that failed for good."""
        self._stopped: ProviderError | None = None
        self._told_of_usage = False

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """One outcome a request, in order; a reply from the cache, or given twice, took nothing.

        Raises LimitReached where a limit is met and ProviderError where further calls are pointless, once everything under way has
        ended and what was answered is in the cache.
        """
        keys = [request_key(self.identity, request) for request in requests]
        known: dict[str, Outcome] = {}
        fresh: dict[str, Request] = {}
        tasks: dict[asyncio.Task[dict[str, Outcome]], None] = {}
        for key, request in zip(keys, requests, strict=True):
            if key in known or key in fresh:
                continue
            if key in self._under_way:
                tasks[self._under_way[key]] = None
                continue
            kept = None if self._cache is None else self._cache.get(key)
            if kept is not None:
                known[key] = _free(judge(request, kept))
                continue
            self._check(request)
            fresh[key] = request
        first = set(fresh)
        for chunk in self._chunks(dict(zip(keys, requests, strict=True)), fresh):
            tasks[self._start(chunk)] = None
        if tasks:
            await asyncio.wait(tasks)
            for task in tasks:
                known.update(task.result())
        # By now what was wrong may have passed: a failure is not left behind because it came at a bad moment.
        late = {key: request for key, request in fresh.items() if _given_up(known[key])}
        if late:
            again = [self._start(chunk, last=True) for chunk in self._chunks(late, late)]
            await asyncio.wait(again)
            for task in again:
                known.update(task.result())
        outcomes: list[Reply | Failed] = []
        for key, request in zip(keys, requests, strict=True):
            outcome = known[key]
            if key in first:
                first.remove(key)
            else:
                outcome = _free(outcome)
                self._budget.book_cached(self.name)
                self._report(request, outcome, cached=True, usage=Usage(), seconds=0.0)
            outcomes.append(outcome)
        return outcomes

    def remember(self, request: Request, reply: Reply) -> None:
        """Put a reply into the cache as if it had been given."""
        if self._cache is not None:
            self._cache.put(request_key(self.identity, request), reply)

    def _check(self, request: Request) -> None:
        lacking = needs(request) - self.capabilities
        if lacking:
            lacks, offers = ", ".join(sorted(lacking)), ", ".join(sorted(self.capabilities))
            raise ProviderError(f"{self.name!r} cannot do what is asked of it ({lacks}); it offers {offers}: name another model")

    def _chunks(self, requests: Mapping[str, Request], fresh: Mapping[str, Request]) -> list[dict[str, Request]]:
        """The fresh requests in batches of one kind that are cut from all of them, so that no batch changes with what is known."""
        chunks = []
        for kind in dict.fromkeys(request.kind for request in requests.values()):
            keys = [key for key, request in requests.items() if request.kind == kind]
            size = self._batch.get(kind, 1)
            chunks += [{key: fresh[key] for key in keys[at : at + size] if key in fresh} for at in range(0, len(keys), size)]
        return [chunk for chunk in chunks if chunk]

    def _start(self, chunk: Mapping[str, Request], *, last: bool = False) -> asyncio.Task[dict[str, Outcome]]:
        task = asyncio.create_task(self._ask(chunk, last=last))
        for key in chunk:
            self._under_way[key] = task

        def ended(task: asyncio.Task[dict[str, Outcome]]) -> None:
            for key in chunk:
                self._under_way.pop(key, None)
            # Whoever waits for it raises it; with nobody left to wait there is nobody to tell.
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        return task

    async def _ask(self, chunk: Mapping[str, Request], *, last: bool) -> dict[str, Outcome]:
        async with self._lanes:
            if self._stopped is not None:
                raise self._stopped
            outcomes = await self._call(list(chunk.items()), last=last)
            self._budget.check()
        return outcomes

    async def _call(self, chunk: Sequence[tuple[str, Request]], *, last: bool) -> dict[str, Outcome]:
        requests = [request for _, request in chunk]
        expected = [estimate(request, self._price, hidden_tokens=self._hidden_tokens) for request in requests]
        held: list[Estimate] = []
        """Against the limits, for the try that is under way."""
        started = 0.0

        async def once() -> list[Reply | Failed]:
            nonlocal started
            if not held:
                await self._budget.reserve(*expected)
                held.extend(expected)
                started = time.perf_counter()
            try:
                return await self._try(requests)
            except Transient as error:
                # Nobody says what it took; the next try is a call of its own, and needs its own place within the limits.
                while error.taken and held:
                    usage = Usage(prompt_tokens=held[0].prompt_tokens, completion_tokens=held[0].completion_tokens, usd=held[0].usd)
                    self._budget.book(self.name, held.pop(0), usage, (time.perf_counter() - started) / len(chunk))
                raise

        try:
            answers = await self._tries(once, len(requests), last=last)
            seconds = (time.perf_counter() - started) / len(chunk)
            outcomes: dict[str, Outcome] = {}
            for (key, request), (answer, usage) in zip(chunk, self._keep(chunk, answers, expected), strict=True):
                outcomes[key] = answer if isinstance(answer, Failed) else judge(request, answer)
                if held:
                    self._budget.book(self.name, held.pop(0), usage, seconds)
                self._report(request, outcomes[key], cached=False, usage=usage, seconds=seconds)
            return outcomes
        except ProviderError as error:
            self._stopped = error
            raise
        finally:
            for estimated in held:
                self._budget.release(estimated)

    async def _try(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        if self._stopped is not None:
            raise self._stopped
        try:
            async with asyncio.timeout(self._timeout):
                return await self.base.answer(requests)
        except TimeoutError:
            reason = f"{self.name!r} did not answer in {self._timeout:g} s (a slow server needs more: --timeout)"
            raise Transient(reason, about="request", taken=True) from None

    async def _tries(self, once: Callable[[], Awaitable[list[Reply | Failed]]], count: int, *, last: bool) -> list[Reply | Failed]:
        try:
            answers = await retrying(once, sleep=self._sleep)
        except Transient as error:
            # What is asked once more has failed before: it says nothing new about the endpoint.
            self._failures += not last
            reason = self._redact(error.reason)
            if error.about == "endpoint" or (self._failures >= PATIENCE and not last):
                raise ProviderError(
                    f"{reason}; {GIVEN_UP}. What was answered is kept: run the same command again when it is back"
                ) from None
            return [Failed("ask", f"{reason}; {GIVEN_UP}")] * count
        self._failures = 0
        return answers

    def _keep(
        self, chunk: Sequence[tuple[str, Request]], answers: Sequence[Reply | Failed], held: Sequence[Estimate]
    ) -> list[tuple[Reply | Failed, Usage]]:
        """The answers as they are kept, all in one transaction, each with what it took."""
        clean = [self._clean(answer, expected) for answer, expected in zip(answers, held, strict=True)]
        usages = [Usage() if isinstance(answer, Failed) else answer.usage for answer in clean]
        if self._cache is not None:
            given = {key: answer for (key, _), answer in zip(chunk, clean, strict=True) if not isinstance(answer, Failed)}
            kept = dict(zip(given, self._cache.put_all(list(given.items())), strict=True))
            clean = [kept.get(key, answer) for (key, _), answer in zip(chunk, clean, strict=True)]
        return list(zip(clean, usages, strict=True))

    def _clean(self, answer: Reply | Failed, expected: Estimate) -> Reply | Failed:
        """The answer without any key, and with what it took."""
        if isinstance(answer, Failed):
            return Failed(answer.stage, whole_text(self._redact(answer.reason)))
        usage = answer.usage
        if usage == Usage():
            if not self._told_of_usage:
                _log.warning("%s does not say how many tokens it takes; they are counted at their upper estimate", self.name)
                self._told_of_usage = True
            usage = Usage(prompt_tokens=expected.prompt_tokens, completion_tokens=expected.completion_tokens)
        if self._price is not None:
            usage = usage.model_copy(update={"usd": self._price.usd(usage.prompt_tokens, usage.completion_tokens)})
        reply = answer.model_copy(update={"usage": usage})
        if reply.kind == "chat" and self._redact(reply.text) != reply.text:
            reply = reply.model_copy(update={"text": self._redact(reply.text), "logprobs": None})
        elif reply.kind == "tools":
            calls = [call.model_copy(update={"arguments": self._redact(call.arguments)}) for call in reply.tool_calls]
            reply = reply.model_copy(update={"text": self._redact(reply.text), "tool_calls": tuple(calls)})
        return reply

    def _report(self, request: Request, outcome: Outcome, *, cached: bool, usage: Usage, seconds: float) -> None:
        if self._on_call is not None:
            self._on_call(CallRecord(self.name, request, outcome, cached, usage, seconds))

    async def close(self) -> None:
        """Let go of the model: its memory, or its connections. Nothing more is asked; replies that are under way come into the cache."""
        self._stopped = self._stopped or ProviderError(f"{self.name!r} is closed: connect to it again")
        if self._under_way:
            # Somebody who waited for them has gone, after an error or an interrupt elsewhere: they are paid for all the same.
            tasks = set(self._under_way.values())
            await asyncio.wait(tasks, timeout=self._timeout)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        close = getattr(self.base, "close", None)
        if close is not None:
            closing = close()
            if inspect.isawaitable(closing):
                await closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def _given_up(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.reason.endswith(GIVEN_UP)


def _free(outcome: Outcome) -> Outcome:
    return outcome if isinstance(outcome, Failed) else outcome.model_copy(update={"usage": Usage()})
