"""What of other tools' data is read, and with what."""

import re
from dataclasses import dataclass

from analyzers.errors import ExplicateError

MOST_RECORDS = 200
"""Activating windows of a site that are taken from a cache which holds all of them, evenly over their ranks."""
MOST_HELD = 1 << 26
"""Tokens of the records of an import, which are in memory together; a record, an explanation and a site count as 32 tokens more, a token
that was simulated as two more. Each takes about 16 bytes: 1 GB."""
SILENT_RECORDS = 50
"""Windows of such a cache in which the site is silent, drawn at random."""


@dataclass(frozen=True)
class Options:
    """How a source is read."""

    ranges: tuple[tuple[int, int], ...] = ()
    """First and last index of the sites that are wanted; empty for all."""
    tokenizer: str | None = None
    """Of caches that hold token numbers: a folder with a tokenizer, or a model's name."""
    seed: int = 0

    def wants(self, index: int | None) -> bool:
        """Whether the site of this index within its layer is read; one without an index always is."""
        return not self.ranges or index is None or any(first <= index <= last for first, last in self.ranges)


def parse_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Ranges of `0-99,512`; none for an empty text. Raises ExplicateError for anything else."""
    ranges = []
    for part in text.split(",") if text.strip() else ():
        match = re.fullmatch(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*", part, re.ASCII)
        if match is None or int(match[1]) > int(match[2] or match[1]):
            raise ExplicateError(f"--features {text!r}: {part.strip()!r} is neither an index nor a range; write 0-99 or 3,7,512")
        ranges.append((int(match[1]), int(match[2] or match[1])))
    return tuple(ranges)
