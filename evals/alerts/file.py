"""Events in a file, one JSON object a line."""

import json
from collections.abc import Sequence
from pathlib import Path

from evals.alerts.state import Event
from evals.alerts.wording import sentence


def append_events(path: Path, events: Sequence[Event]) -> None:
    """Append the events, making the file and its folder; a line that a kill cut short is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({**event.model_dump(mode="json"), "text": sentence(event)}) + "\n" for event in events)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            lines = lines if file.read(1) == b"\n" else "\n" + lines
        # In one write, so that two processes do not mix their lines.
        file.write(lines.encode("ascii"))
