"""Retries: what is transient, how often, and how long between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.retry import ATTEMPTS, LONGEST_WAIT, Transient, retrying


class Call:
    """Fails with the given errors in turn, then returns 'done'; records the waits."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        self.tries = 0
        self.waits: list[float] = []

    async def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_transient_failures_are_bridged_with_growing_waits() -> None:
    call = Call([Transient("down")] * (ATTEMPTS - 1))
    assert await retrying(call, sleep=call.sleep) == "done"
    assert call.tries == ATTEMPTS
    assert all(2**n <= wait <= 2**n + 1 for n, wait in enumerate(call.waits)), call.waits


async def test_it_gives_up_after_the_stated_number_of_tries() -> None:
    call = Call([Transient(f"down {n}") for n in range(100)])
    with pytest.raises(Transient, match=f"down {ATTEMPTS - 1}"):
        await retrying(call, sleep=call.sleep)
    assert call.tries == ATTEMPTS


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug"), TimeoutError()])
async def test_other_errors_are_not_repeated(error: Exception) -> None:
    call = Call([error])
    with pytest.raises(type(error)):
        await retrying(call, sleep=call.sleep)
    assert (call.tries, call.waits) == (1, [])


@given(asked=st.lists(st.none() | st.floats(0, LONGEST_WAIT), min_size=1, max_size=ATTEMPTS - 1))
async def test_it_never_asks_sooner_than_the_endpoint_wants(asked: list[float | None]) -> None:
    call = Call([Transient("slow down", retry_after=seconds) for seconds in asked])
    assert await retrying(call, sleep=call.sleep) == "done"
    assert len(call.waits) == len(asked)
    assert all(wait >= (seconds or 0.0) for wait, seconds in zip(call.waits, asked, strict=True))


async def test_an_endpoint_that_asks_to_wait_for_ever_is_given_up() -> None:
    call = Call([Transient("come back tomorrow", retry_after=LONGEST_WAIT + 1)])
    with pytest.raises(Transient, match="tomorrow"):
        await retrying(call, sleep=call.sleep)
    assert (call.tries, call.waits) == (1, [])
