"""Tell everybody whom a suite names, each in their way; one who cannot be reached keeps nobody else from hearing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.errors import Failed
from evals.alerts.config import AlertConfig
from evals.alerts.file import append_events
from evals.alerts.junit import write_junit
from evals.alerts.markdown import write_markdown
from evals.alerts.smtp import send
from evals.alerts.state import Event, changes_of_state, mark_fired
from evals.alerts.webhook import post
from evals.comparison.results import Comparison

if TYPE_CHECKING:
    from evals.database import Database

SUMMARIES = ("markdown", "junit")


@dataclass(frozen=True)
class Delivery:
    """What was told, and to whom."""

    sink: str
    """markdown, junit, file, webhook or smtp."""
    to: str
    n_events: int


@dataclass(frozen=True)
class Alerted:
    """What a comparison had that was new, and who was told."""

    events: list[Event]
    deliveries: list[Delivery | Failed]

    @property
    def failed(self) -> list[Failed]:
        return [each for each in self.deliveries if isinstance(each, Failed)]


def alert(
    database: "Database",
    config: AlertConfig,
    suite: str,
    comparison: Comparison,
    *,
    run: str = "",
) -> Alerted:
    """Find what is new in a comparison, tell everybody, and take note of it.

    Events that reach nobody, though somebody was to hear of them, come again with the next run. A summary, which the next run replaces,
    reaches somebody only where nothing else is named.
    """
    events = changes_of_state(database, suite, comparison, run=run)
    deliveries = notify(config, events, comparison, suite=suite)
    lasting = [each for each in deliveries if (each.stage if isinstance(each, Failed) else each.sink) not in SUMMARIES] or deliveries
    if events and (not lasting or any(isinstance(each, Delivery) for each in lasting)):
        mark_fired(database, events)
    return Alerted(events, deliveries)


def notify(config: AlertConfig, events: Sequence[Event], comparison: Comparison, *, suite: str) -> list[Delivery | Failed]:
    """Tell of the events everywhere the configuration says, and return how each went.

    Summaries are written whether or not there are events.
    """
    done: list[Delivery | Failed] = []
    files: list[tuple[str, Path | None, Callable[[Path], None]]] = [
        ("markdown", config.markdown, partial(write_markdown, comparison=comparison, events=events)),
        ("junit", config.junit, partial(write_junit, comparison=comparison)),
        ("file", config.file if events else None, partial(append_events, events=events)),
    ]
    for sink, path, write in files:
        if path is not None:
            done.append(_written(sink, path, write, len(events)))
    if config.webhook is not None and events:
        done.append(_sent("webhook", post(config.webhook, suite, events, comparison), len(events)))
    if config.smtp is not None and events:
        done.append(_sent("smtp", send(config.smtp, suite, events, comparison), len(events)))
    return done


def _written(sink: str, path: Path, write: Callable[[Path], None], n_events: int) -> Delivery | Failed:
    try:
        write(path)
    except OSError as error:
        return Failed(sink, f"{str(path)!r} cannot be written: {error.strerror or type(error).__name__}")
    return Delivery(sink, str(path), n_events)


def _sent(sink: str, to: str | Failed, n_events: int) -> Delivery | Failed:
    return to if isinstance(to, Failed) else Delivery(sink, to, n_events)
