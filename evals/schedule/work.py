"""What a schedule runs, watched: it shows progress, and it can be ended between two calls."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from analyzers.progress import Report
from evals.database import Database
from evals.schedule.heartbeat import Pulse

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """A run in the results database."""

    run_id: str
    regressed: bool
    """Whether something did, from the suite's baseline; False where it has none."""
    error: str | None = None
    """What of it could not be told to somebody."""


@dataclass(frozen=True)
class Ended:
    """How a suite ended."""

    status: Literal["done", "failed", "stopped"]
    """failed: a task did; stopped: by a limit."""
    error: str | None
    record: Callable[[Database], Recorded]
    """Enters the run into the results database; called while nobody else can have the schedule."""


class Run(Protocol):
    """Runs the suite of a file into a folder, or goes on with it there."""

    async def __call__(self, suite_file: Path, folder: Path, *, report: Report, tell: Tell) -> Ended: ...


async def supervised(
    run: Run, suite_file: Path, folder: Path, *, pulse: Pulse, stop: Callable[[], bool], tell: Tell, tick_s: float
) -> Ended | BaseException | None:
    """The end of a run, the error it died of, or None where it was ended before.

    stop: says when to end; it is heeded at the next await, or report of progress.
    """
    here = threading.current_thread()

    def report(*_: object) -> None:
        pulse.beat()
        # A pass over text awaits nothing for minutes. What reports from a thread of its own is awaited.
        if stop() and threading.current_thread() is here:
            raise asyncio.CancelledError

    work = asyncio.ensure_future(run(suite_file, folder, report=report, tell=tell))
    ended = False
    while not work.done():
        await asyncio.wait({work}, timeout=tick_s)
        pulse.beat()
        if stop() and not ended:
            # Once only: a second time would cut short what the first one has it tidy up.
            ended = work.cancel()
    return None if work.cancelled() else work.exception() or work.result()
