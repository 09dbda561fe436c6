"""Being asked to end: SIGTERM and Ctrl-C are noted, and whoever is at work ends at the next place where nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_end() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM or SIGINT, which do nothing else within the block; must be entered by the main thread."""
    asked = threading.Event()

    def note(*_: object) -> None:
        asked.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
