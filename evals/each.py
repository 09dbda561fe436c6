"""Something done for every item of a run, some at once; and what a run leaves that a limit has stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from analyzers.errors import Failed, LimitReached
from analyzers.progress import Report

T = TypeVar("T")
R = TypeVar("R")


class Failing(Protocol):
    """An item on its way through a run."""

    failed: Failed | None
    """Why nothing more can be said of it."""


W = TypeVar("W", bound=Failing)


class Stopped(LimitReached, Generic[R]):
    """A limit kept some items from being done; what there is has been written."""

    def __init__(self, message: str, results: R) -> None:
        super().__init__(message)
        self.results = results


async def each(items: Sequence[T], do: Callable[[T], Awaitable[R]], what: str, report: Report, at_once: int) -> list[R | Failed]:
    """Do something for every item, some at once, in order; a limit that is met fails the items it stops, an error stops them all."""
    gate = asyncio.Semaphore(at_once)
    done = 0

    async def one(item: T) -> R | Failed:
        nonlocal done
        async with gate:
            try:
                return await do(item)
            except LimitReached as limit:
                return Failed("budget", str(limit))
            finally:
                done += 1
                report(what, done, len(items))

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def each_open(works: Sequence[W], do: Callable[[W], Awaitable[None]], what: str, report: Report, at_once: int) -> None:
    """Do something for every item that has not failed; a limit that is met is why an item fails."""
    open_ = [work for work in works if work.failed is None]
    outcomes = await each(open_, do, what, report, at_once)
    for work, outcome in zip(open_, outcomes, strict=True):
        if isinstance(outcome, Failed):
            work.failed = outcome


async def together(*tasks: Coroutine[Any, Any, R]) -> list[R]:
    """The results of coroutines that run at the same time, in order; after an error in one the others are of no use and are cancelled."""
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        return list(await asyncio.gather(*started))
    finally:
        for task in started:
            task.cancel()


def drawn(items: Sequence[T], n: int, seed: int) -> list[T]:
    """So many of the items, drawn by the seed, in their order; all of them for 0, and where there are no more."""
    if not n or n >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), size=n, replace=False)
    return [items[number] for number in sorted(chosen.tolist())]
