"""Items that are done some at once, and those that are drawn."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import Failed, LimitReached
from evals.each import drawn, each_open


@dataclass
class Work:
    number: int
    failed: Failed | None = None
    done: bool = False


async def test_only_open_items_are_done_and_a_limit_fails_those_it_stops() -> None:
    gone = Failed("item", "too long")
    works = [Work(0), Work(1, gone), Work(2), Work(3)]
    told: list[tuple[str, int, int]] = []

    async def do(work: Work) -> None:
        if work.number >= 2:
            raise LimitReached("enough")
        work.done = True

    await each_open(works, do, "do", lambda *step: told.append(step), at_once=1)
    assert [work.done for work in works] == [True, False, False, False]
    assert [work.failed for work in works] == [None, gone, Failed("budget", "enough"), Failed("budget", "enough")]
    assert told == [("do", done, 3) for done in (1, 2, 3)]


async def test_an_error_is_raised() -> None:
    async def do(work: Work) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await each_open([Work(0)], do, "do", lambda *_: None, at_once=2)


@given(size=st.integers(0, 30), n=st.integers(0, 40), seed=st.integers(0, 99))
def test_so_many_are_drawn_in_their_order(size: int, n: int, seed: int) -> None:
    items = list(range(size))
    found = drawn(items, n, seed)
    assert found == sorted(set(found)) == drawn(items, n, seed)
    assert set(found) <= set(items)
    assert len(found) == (size if n == 0 else min(n, size))


def test_every_item_is_drawn_as_often() -> None:
    counts = [0] * 6
    for seed in range(3000):
        for item in drawn(range(6), 2, seed):
            counts[item] += 1
    # Of 3000 draws of a third; five standard errors.
    assert counts == pytest.approx([1000] * 6, abs=130)
