"""Requests gathered into batches of OpenAI's Batch API: submitted, noted down, waited for, and handed back to whoever asked."""

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from agents.batch_lines import Answer, Line, parts, read, unanswered
from agents.batch_store import BatchStore, Noted
from agents.providers.faults import Endpoint, Refused, translated
from agents.retry import GIVEN_UP, Sleep, Transient, retrying
from analyzers.errors import ProviderError
from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch, BatchError

GATHERING = 5.0
"""Seconds without a new request after which those that came are submitted."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0
"""Seconds between two looks at a batch: half as long again each time."""
MISSES = 20
"""Looks in a row that may fail before the wait is given up: over half an hour."""
SUBMITTING = 300.0
"""Seconds in which another process may still be learning the id of a batch that it noted."""

_MARK = "explicate"
"""Under which our own mark of a batch stands in its metadata."""
_FULL = "token_limit_exceeded"
"""The code of a batch that does not fit beside those which the endpoint already holds."""
_ENDED = ("completed", "failed", "expired", "cancelled")

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class _Asked:
    line: Line
    answer: "asyncio.Future[Answer | BaseException]"


class _Away(ProviderError):
    """The endpoint did not answer, and may have done what was asked."""


class BatchQueue:
    """Answers requests by batches; many may be asked at the same time, and should be.

    What is submitted is noted in the store first: asked again, by whichever process, it is waited for and not sent again. It belongs to
    one event loop. Once something went wrong that more asking will not mend, `broken` says what, and everybody who waits is told; what
    the endpoint has been given goes on there.
    """

    def __init__(
        self,
        client: "AsyncOpenAI",
        *,
        endpoint: Endpoint,
        store: BatchStore,
        report: Report = quiet,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """client: is closed with the queue, as is the store. report: told how many requests of all batches are done. sleep: waits for
        more requests, between looks, and between tries."""
        self.broken: BaseException | None = None
        self._client = client
        self._endpoint = endpoint
        self._store = store
        self._report = report
        self._sleep = sleep
        self._asked: dict[str, _Asked] = {}
        """Not answered yet."""
        self._new: dict[str, Line] = {}
        """Of these, not submitted yet."""
        self._read: dict[str, Answer] = {}
        """Answers of an earlier process's batch that nobody has asked for yet."""
        self._given: set[str] = set()
        """Answered before: who asks again wants another answer."""
        self._gathering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: set[str] = set()
        """Marks of the batches that are waited for."""
        self._held: dict[str, asyncio.Future[None]] = {}
        """Batches that the endpoint holds or may hold, by mark; done when one has ended."""
        self._freed = 0
        """Batches that have ended and made room, in all."""
        self._creating: set[asyncio.Task[Noted]] = set()
        self._counts: dict[str, tuple[int, int]] = {}
        """Requests done and in all, by mark."""

    async def ask(self, path: str, body: Mapping[str, Any]) -> Answer:
        """The answer to one request, whose path begins with /v1; raises what `broken` says."""
        if self.broken is not None:
            raise self.broken
        key = hashlib.sha256(json.dumps([self._endpoint.url, path, body], separators=(",", ":")).encode()).hexdigest()
        if key in self._read:
            return self._read.pop(key)
        if key not in self._asked:
            self._asked[key] = _Asked(Line(key, path, body), asyncio.get_running_loop().create_future())
            mark = None if key in self._given else self._store.find(key)
            if mark is None:
                self._add([key])
            elif mark not in self._followed:
                self._followed.add(mark)
                self._start(self._resumed(self._store.get(mark)))
        answer = await asyncio.shield(self._asked[key].answer)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _add(self, keys: Iterable[str]) -> None:
        """Put what is asked for and has no batch into the next one."""
        self._new |= {key: self._asked[key].line for key in keys if key in self._asked}
        if self._new and self._gathering is None:
            self._gathering = self._start(self._gather())

    async def _gather(self) -> None:
        count = 0
        while count != len(self._new):
            count = len(self._new)
            await self._sleep(GATHERING)
        lines, self._new, self._gathering = self._new, {}, None
        for part in parts(lines.values()):
            self._start(self._carry(part))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and self.broken is None:
                self.broken = error
                for key in list(self._asked):
                    self._give(key, error)

        task.add_done_callback(ended)
        return task

    def _give(self, key: str, answer: Answer | BaseException) -> None:
        self._given.add(key)
        asked = self._asked.pop(key, None)
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(answer)
        elif asked is None and isinstance(answer, Answer) and answer.status == 200:
            self._read[key] = answer

    async def _carry(self, lines: Sequence[Line]) -> None:
        """Submit one batch and answer its requests; in halves, one after the other, where the endpoint has no room for it."""
        freed = self._freed
        while not await self._answered(await self._submitted(lines), known=True):
            others = list(self._held.values())
            if others:
                await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            elif freed == self._freed:  # none of ours was in its way, not even one that has ended since
                if len(lines) == 1:
                    raise ProviderError(
                        f"{self._endpoint} holds as many requests in batches as it takes of you: run the same command later"
                    )
                for half in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
                    await self._carry(half)
                return
            freed = self._freed

    async def _resumed(self, noted: Noted) -> None:
        """Answer what is asked for of a batch of an earlier process."""
        _log.info("what is asked lies in batch %s of %s already, noted %s", noted.batch, self._endpoint, _when(noted.at))
        if not await self._answered(noted, known=False):
            self._add(noted.lines)

    async def _submitted(self, lines: Sequence[Line]) -> Noted:
        import openai

        if self.broken is not None:
            raise self.broken
        client, mark, path = self._client, uuid.uuid4().hex, lines[0].path
        file = "".join(line.text() for line in lines).encode("ascii")

        async def upload() -> str:
            try:
                return (await client.files.create(file=("explicate.jsonl", file), purpose="batch", timeout=600.0)).id
            except openai.APIStatusError as error:
                if error.status_code in (404, 405, 501):
                    raise ProviderError(f"{self._endpoint} offers no Batch API ({error.status_code}): leave out --batch") from None
                raise

        uploaded = await self._called(upload)
        noted = Noted(mark, None, time.time(), {line.key: number for number, line in enumerate(lines)})
        self._followed.add(mark)
        self._store.intend(mark, noted.at, list(noted.lines))
        # Held from here on: it can stand in another's way before the endpoint's answer has come.
        self._hold(mark)
        tried = False

        async def create() -> "Batch":
            nonlocal tried
            # A try of which no answer came may have been heard all the same.
            found = await self._found(noted) if tried else None
            tried = True
            endpoint: Any = path
            return found or await client.batches.create(
                input_file_id=uploaded, endpoint=endpoint, completion_window="24h", metadata={_MARK: mark}
            )

        async def created() -> Noted:
            batch = await self._called(create)
            self._store.confirm(mark, batch.id)
            _log.info("%d requests submitted as batch %s of %s", len(lines), batch.id, self._endpoint)
            return Noted(mark, batch.id, noted.at, noted.lines)

        creating = asyncio.create_task(created())
        self._creating.add(creating)
        try:
            return await asyncio.shield(creating)
        except _Away:
            raise
        except ProviderError:
            self._store.drop(mark)
            self._held.pop(mark).set_result(None)
            raise
        finally:
            creating.add_done_callback(self._creating.discard)

    def _hold(self, mark: str) -> None:
        self._held.setdefault(mark, asyncio.get_running_loop().create_future())

    async def _answered(self, noted: Noted, *, known: bool) -> bool:
        """Wait for a batch, and answer or ask anew all its requests; False where the endpoint had no room for it.

        known: submitted by this process, so that it must be there.
        """
        self._hold(noted.mark)
        try:
            batch = await self._ended(noted)
        finally:
            self._held.pop(noted.mark).set_result(None)
        self._freed += batch is not None and batch.status != "failed"
        rows = None if batch is None else await self._rows(batch)
        if batch is None or rows is None:
            if known:
                raise ProviderError(f"{self._endpoint} does not know its own batch {noted.batch} any more")
            _log.warning(
                "batch %s of %s, noted %s, is not there for this key: its %d requests are sent anew",
                noted.batch or "without id",
                self._endpoint,
                _when(noted.at),
                len(noted.lines),
            )
            self._dropped(noted)
            return True
        if batch.status == "failed":
            return self._failed(noted, batch)
        answers = {key: rows[key] for key in noted.lines if key in rows}
        missing = [key for key in noted.lines if key not in answers]
        self._store.forget(noted.mark, [*missing, *(key for key, answer in answers.items() if answer.status != 200)])
        for key, answer in answers.items():
            self._give(key, answer)
        if batch.status == "cancelled" and any(key in self._asked for key in missing):
            raise ProviderError(
                f"batch {batch.id} of {self._endpoint} was cancelled with {len(missing)} of {len(noted.lines)} requests not answered. "
                "What was answered is kept: the same command sends the rest anew"
            )
        for key in missing:
            self._give(key, unanswered(f"batch {batch.id} has {batch.status} without this request"))
        return True

    def _dropped(self, noted: Noted) -> None:
        self._store.drop(noted.mark)
        self._followed.discard(noted.mark)
        self._add(noted.lines)

    def _failed(self, noted: Noted, batch: "Batch") -> bool:
        """Of a batch that was refused as a whole: blame the lines that are named, and send the others anew."""
        errors: Sequence[BatchError] = (batch.errors.data if batch.errors is not None else None) or ()
        self._store.drop(noted.mark)
        if any(error.code == _FULL for error in errors):
            _log.info("%s has no room for batch %s of %d requests", self._endpoint, batch.id, len(noted.lines))
            return False
        blamed = {error.line - 1: error for error in errors if error.line}
        wrong = {key: blamed[line] for key, line in noted.lines.items() if line in blamed}
        if not wrong or len(wrong) == len(noted.lines):
            said = "; ".join(dict.fromkeys(error.message or error.code or "" for error in errors)) or "it gives no reason"
            raise ProviderError(f"{self._endpoint} refused batch {batch.id}: {self._endpoint.quote(said)}")
        for key, error in wrong.items():
            self._give(key, Answer(400, {"error": {"message": error.message, "code": error.code}}))
        self._add(key for key in noted.lines if key not in wrong)
        return True

    async def _ended(self, noted: Noted) -> "Batch | None":
        """Wait until a batch has ended; None where the endpoint does not know it."""
        import openai

        batch_id = noted.batch
        while batch_id is None:
            found = await self._called(lambda: self._found(noted))
            if found is not None:
                batch_id = found.id
                self._store.confirm(noted.mark, batch_id)
            elif time.time() - noted.at > SUBMITTING:
                return None
            else:
                await self._sleep(FIRST_PAUSE)
        pause, missed = FIRST_PAUSE, 0
        self._tell(noted.mark, 0, len(noted.lines))
        while True:
            try:
                with translated(self._endpoint):
                    try:
                        batch = await self._client.batches.retrieve(batch_id)
                    except openai.NotFoundError:
                        return None
            except Refused as refusal:
                raise ProviderError(f"{self._endpoint} does not tell of batch {batch_id}: {refusal.reason}") from None
            except Transient as error:
                missed += 1
                if missed == MISSES:
                    raise ProviderError(
                        f"{error.reason}. Batch {batch_id} goes on: run the same command again when the endpoint is back"
                    ) from None
                _log.info("%s; batch %s is looked at again", error.reason, batch_id)
            else:
                missed = 0
                ended, counts = batch.status in _ENDED, batch.request_counts
                done = len(noted.lines) if ended else 0 if counts is None else counts.completed + counts.failed
                self._tell(noted.mark, done, len(noted.lines))
                if ended:
                    _log.info("batch %s of %s has %s", batch_id, self._endpoint, batch.status)
                    return batch
            await self._sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)

    async def _found(self, noted: Noted) -> "Batch | None":
        """The batch that carries our mark, among those as young as it."""
        async for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(_MARK) == noted.mark:
                return batch
            if batch.created_at < noted.at - 3600:
                break
        return None

    async def _rows(self, batch: "Batch") -> dict[str, Answer] | None:
        """What the output and the error file say, by key; None where a file is not there any more."""
        import openai

        answers: dict[str, Answer] = {}
        for file in (batch.error_file_id, batch.output_file_id):
            if not file:
                continue

            async def fetch(file: str = file) -> bytes | None:
                try:
                    return (await self._client.files.content(file, timeout=600.0)).content
                except openai.NotFoundError:
                    return None

            content = await self._called(fetch)
            if content is None:
                return None
            found, torn = read(content)
            answers |= found
            if torn:
                _log.warning("%d lines of batch %s of %s cannot be read", torn, batch.id, self._endpoint)
        return answers

    async def _called(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the endpoint answers, asked again while that may help; raises ProviderError."""

        async def once() -> T:
            with translated(self._endpoint):
                return await call()

        try:
            return await retrying(once, sleep=self._sleep)
        except Transient as error:
            raise _Away(
                f"{error.reason}; {GIVEN_UP}. What was answered or submitted is kept: run the same command again when it is back"
            ) from None
        except Refused as refusal:
            raise ProviderError(f"{self._endpoint} takes no batch: {refusal.reason}") from None

    def _tell(self, mark: str, done: int, total: int) -> None:
        self._counts[mark] = (done, total)
        done, total = (sum(column) for column in zip(*self._counts.values(), strict=True))
        self._report(f"{self._endpoint.name} in batches", done, total)

    async def close(self) -> None:
        """Stop waiting. What is submitted goes on, and is found by whoever asks for it again."""
        if self._creating:
            # The endpoint may be saying yes: its id is noted before we go.
            await asyncio.wait(self._creating, timeout=60)
        if self._held:
            _log.warning("batches of %s under way: %d; run the same command again to collect them", self._endpoint, len(self._held))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()
        self._store.close()


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
