"""Asking again: only what is transient, a stated number of times, and never sooner than the endpoint wants."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

ATTEMPTS = 6
"""Times one request is sent; with the waits between them (1, 2, 4, 8, 16 s, each plus up to 1 s) some 35 s."""

GIVEN_UP = f"given up after {ATTEMPTS} tries"
"""How the reason ends of a request that never succeeded."""

LONGEST_WAIT = 120.0
"""Seconds; an endpoint that asks (Retry-After) for longer is given up at once."""

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")
_log = logging.getLogger(__name__)
_backoff = wait_exponential_jitter(initial=1, max=30, jitter=1)


class Transient(Exception):
    """A call that failed now and may succeed later."""

    def __init__(
        self, reason: str, *, retry_after: float | None = None, about: Literal["endpoint", "request"] = "endpoint", taken: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds that the endpoint asked to wait."""
        self.about = about
        """What is to blame when it never succeeds: the endpoint as a whole (unreachable, overloaded), or perhaps this request alone."""
        self.taken = taken
        """Whether an answer may have been written, and is to be paid for, all the same."""


def _worth_another(error: BaseException) -> bool:
    return isinstance(error, Transient) and (error.retry_after or 0.0) <= LONGEST_WAIT


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, Transient) else None
    return max(_backoff(state), asked or 0.0)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    _log.info("%s; asking again in %.1f s (try %d of %d)", error, state.upcoming_sleep, state.attempt_number + 1, ATTEMPTS)


async def retrying(call: Callable[[], Awaitable[T]], *, sleep: Sleep = asyncio.sleep) -> T:
    """Await `call()`, again after each Transient, up to ATTEMPTS times; the last Transient is raised, any other error at once.

    Waits grow exponentially with jitter and are at least what the endpoint asked for.
    """
    attempts = AsyncRetrying(
        sleep=sleep,
        stop=stop_after_attempt(ATTEMPTS),
        wait=_wait,
        retry=retry_if_exception(_worth_another),
        before_sleep=_tell,
        reraise=True,
    )
    return await attempts(call)
