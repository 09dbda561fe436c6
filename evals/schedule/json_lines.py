"""A log that programs read: one JSON object a line, on stderr."""

import json
import sys
import threading
from datetime import UTC, datetime

_TURN = threading.Lock()
_WARN = frozenset({"missed", "busy", "database", "error"})


def json_line(event: str, /, **facts: object) -> None:
    """Log an event with its facts; facts that JSON does not know are written as texts."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps(
        {"time": at, "level": "warning" if event in _WARN else "info", "event": event, **facts}, ensure_ascii=False, default=str
    )
    with _TURN:
        print(line, file=sys.stderr, flush=True)
