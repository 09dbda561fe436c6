"""A chat model of OpenAI's that is asked by batches: a day's patience for half the price."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from agents.batch import BatchQueue
from agents.batch_store import BatchStore
from agents.llm import Capability, Reply, Request
from agents.metered import Metered
from agents.prices import Price
from agents.providers.chat import ChatLLM
from agents.providers.faults import Endpoint
from agents.retry import Sleep, Transient
from analyzers.errors import Failed
from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from httpx2 import AsyncClient

DISCOUNT = 0.5
"""What a token costs in a batch, of its price in a call of its own."""
LANES = 50_000
"""Requests asked at the same time: all that may come together in a batch."""
BATCHES = 3
"""Times one request is sent, each time in another batch, where the endpoint did not get to it."""


def discounted(price: Price) -> Price:
    """What a model costs in a batch."""
    return Price(price.prompt * DISCOUNT, price.completion * DISCOUNT)


class _Through(httpx2.AsyncBaseTransport):
    """Carries HTTP requests by batch: what is sent and how an answer is read is the same as in a call."""

    def __init__(self, queue: BatchQueue, endpoint: Endpoint) -> None:
        self._queue = queue
        self._base = urlsplit(endpoint.url).path

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(await request.aread())
        answer = await self._queue.ask("/v1" + request.url.path.removeprefix(self._base), body)
        return httpx2.Response(answer.status, json=answer.body, request=request)


class BatchLLM:
    """`ChatLLM` of one model of OpenAI's, or of a server with the same Batch API, asked by batches; its replies are interchangeable with
    those of calls, and so are their keys in the cache.

    A request that the endpoint did not get to (busy, failing, out of time) is sent again in a further batch, a few times.
    """

    def __init__(
        self,
        model: str,
        *,
        key: str,
        endpoint: Endpoint,
        timeout: float,
        notes: Path | None,
        report: Report = quiet,
        sleep: Sleep = asyncio.sleep,
        http: "AsyncClient | None" = None,
    ) -> None:
        """timeout: seconds for one exchange with the endpoint, not for a batch; notes: the SQLite file where batches under way are noted,
        None to keep them for as long as this process lives; http: takes the place of the HTTP client."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        store = BatchStore(notes)
        client = AsyncOpenAI(
            api_key=key,
            base_url=endpoint.url,
            timeout=timeout,
            max_retries=0,
            http_client=http or DefaultAsyncHttpxClient(timeout=timeout),
        )
        self._queue = BatchQueue(client, endpoint=endpoint, store=store, report=report, sleep=sleep)
        through = httpx2.AsyncClient(transport=_Through(self._queue, endpoint), base_url=endpoint.url)
        self._chat = ChatLLM("openai", model, key=key, endpoint=endpoint, timeout=timeout, http=through)
        self.name = endpoint.name
        self.capabilities: frozenset[Capability] = self._chat.capabilities
        self.hidden_tokens = self._chat.hidden_tokens
        self.endpoint = endpoint

    @property
    def identity(self) -> Mapping[str, str]:
        return self._chat.identity

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """All at the same time; raises Transient for an answer that cannot be read, ProviderError for what more asking will not mend."""
        found = await asyncio.gather(*(self._one(request) for request in requests), return_exceptions=True)
        outcomes: list[Reply | Failed] = []
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes.append(outcome)
        return outcomes

    async def _one(self, request: Request) -> Reply | Failed:
        reason = ""
        for _ in range(BATCHES):
            try:
                return (await self._chat.answer([request]))[0]
            except Transient as error:
                if self._queue.broken is not None:
                    # On its way through the HTTP client it was taken for a lost connection.
                    raise self._queue.broken from None
                if error.taken:
                    raise
                reason = error.reason
        return Failed("ask", f"{reason}; given up after {BATCHES} batches")

    async def close(self) -> None:
        """Stop waiting; what is submitted goes on."""
        await self._chat.close()
        await self._queue.close()


class Batched(Metered):
    """What stands around a model that is asked by batches: nobody waits for one when a run is broken off."""

    async def close(self) -> None:
        """Let go of the model; batches under way are collected by whoever asks for the same again."""
        for task in set(self._under_way.values()):
            task.cancel()
        await super().close()
