"""Progress: what, how far, how fast, how long still; on stderr, so that stdout stays clean for --json.

In a terminal or notebook as bars; in a log file or CI as plain lines, few enough to be read.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from analyzers.progress import Report

EVERY = 10.0
"""Seconds between two plain lines of one kind of work, at least."""


@contextmanager
def bars() -> Iterator[Report]:
    """Yield a Report that draws one bar for each kind of work, with rate and time left; plain lines where stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    # Without ipywidgets rich cannot draw bars in a notebook: it would only warn, each time.
    if not (console.is_terminal or (console.is_jupyter and find_spec("ipywidgets"))):
        lines = Lines(lambda line: print(line, file=sys.stderr, flush=True))
        yield lines.report
        lines.end()
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.1f}/s" if speed < 100 else f"{speed:,.0f}/s", style="dim")

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}")

    progress = Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=24),
        Count(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]left"),
        console=console,
    )
    tasks: dict[str, TaskID] = {}
    reached: dict[str, int] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total or None)
        elif done < reached[what]:  # the same kind of work begins again
            progress.reset(tasks[what])
        reached[what] = done
        progress.update(tasks[what], completed=done, total=total or None)

    with progress:
        yield report


@dataclass
class _Work:
    """One kind of work on its way."""

    what: str
    first: int
    """Done when it was first reported: what was done before does not count for the rate."""
    started: float
    done: int
    total: int
    told: float
    """When it was last printed, or else began."""
    ended: bool = False


class Lines:
    """Progress as lines of text: at most one every EVERY seconds for a kind of work, and one at its end."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._works: dict[str, _Work] = {}

    def report(self, what: str, done: int, total: int) -> None:
        """A Report; work whose total is not known is named once, when it begins."""
        now = self._clock()
        if what not in self._works or done < self._works[what].done:  # it begins, or begins again
            self.end()
            self._works[what] = _Work(what, done, now, done, total, now, ended=total <= 0)
            if total <= 0:
                self._write(what)
        work = self._works[what]
        if total <= 0 or (work.ended and done == work.done):
            return
        work.done, work.total, work.ended = done, total, done >= total
        if work.ended or now - work.told >= EVERY:
            self._tell(work, now)

    def end(self) -> None:
        """Say of work that has not reached its total, and goes no further, how far it came."""
        for work in self._works.values():
            if not work.ended:
                work.ended = True
                self._tell(work, self._clock())

    def _tell(self, work: _Work, now: float) -> None:
        work.told = now
        seconds = now - work.started
        line = f"{work.what}: {work.done:,}/{work.total:,}"
        if seconds > 0 and work.done > work.first:
            rate = (work.done - work.first) / seconds
            line += f", {1 / rate:,.0f} s each" if rate < 0.1 else f", {rate:,.1f}/s" if rate < 100 else f", {rate:,.0f}/s"
            if not work.ended:
                line += f", {_clock_time((work.total - work.done) / rate)} left"
        if work.ended:
            line += f", took {_clock_time(seconds)}"
        self._write(line)


def _clock_time(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
