"""Signs of life: a thread that says to the database that this process is there, as long as its work shows that it is not hung."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from evals.database.told import OutOfReach

_RETRY_S = 2.0
"""After a failure of the database, at most."""


class Pulse:
    """When the work of this process last showed that it goes on: by letting others have a turn, or by reporting progress."""

    def __init__(self, hung_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """hung_s: seconds without a beat after which the work counts as hung."""
        self.hung_s = hung_s
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """The work goes on."""
        self._last = self._clock()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last

    @property
    def hung(self) -> bool:
        return self.age > self.hung_s


class Heartbeat:
    """Calls `say` every so many seconds on a thread of its own, while the pulse goes; a context manager.

    say: returns False where it was said in vain, because somebody took over. Where the database fails it is called again soon: a process
    that is alive gives nothing up for that.
    """

    def __init__(self, say: Callable[[], bool], every_s: float, pulse: Pulse) -> None:
        self._say, self._every, self._pulse = say, every_s, pulse
        self._end = threading.Event()
        self._vain = threading.Event()
        self._thread = threading.Thread(target=self._go, name="heartbeat", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether somebody took over."""
        return self._vain.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _go(self) -> None:
        wait = self._every
        while not self._end.wait(wait):
            wait = self._every
            if self._pulse.hung:
                continue
            try:
                if not self._say():
                    self._vain.set()
                    return
            except OutOfReach:
                wait = min(_RETRY_S, self._every)
