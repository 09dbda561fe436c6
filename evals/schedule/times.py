"""How often a process that runs schedules does what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """In seconds."""

    poll: float = 5
    """Between two looks at the timetable, at most."""
    lease: float = 120
    """After the last sign of life of whoever holds a schedule, somebody else may go on with it."""
    beat: float = 15
    """Between two signs of life: several may fail."""
    hung: float = 1800
    """Where nothing else has a turn and no progress is reported for so long, the process counts as hung: loading a large model takes
    minutes."""
    tick: float = 0.5
    """Until a request to end is noticed, between two calls."""
