"""The files of OpenAI's Batch API: requests a line each, at most 50,000 and 200 MB in one, and what became of each, in any order."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""Of one batch."""


@dataclass(frozen=True)
class Answer:
    """What a live call would have answered: an HTTP status and the body."""

    status: int
    body: Any


@dataclass(frozen=True)
class Line:
    """One request of a batch; its key is its custom_id, so that no two in a batch can have the same."""

    key: str
    path: str
    body: Mapping[str, Any]

    def text(self) -> str:
        return json.dumps({"custom_id": self.key, "method": "POST", "url": self.path, "body": self.body}, separators=(",", ":")) + "\n"


def parts(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines in as few batches as the limits allow, each of one path."""
    by_path: dict[str, list[Line]] = {}
    for line in lines:
        by_path.setdefault(line.path, []).append(line)
    for alike in by_path.values():
        part, size = list[Line](), 0
        for line in alike:
            length = len(line.text())
            if part and (len(part) >= MOST_REQUESTS or size + length > MOST_BYTES):
                yield part
                part, size = [], 0
            part.append(line)
            size += length
        yield part


def _answer(row: Mapping[str, Any]) -> Answer:
    """What one line of an output or error file says."""
    response, error = row.get("response"), row.get("error") or {}
    if isinstance(response, dict) and response.get("status_code"):
        return Answer(int(response["status_code"]), response.get("body"))
    return unanswered(str(error.get("message") or error.get("code") or "it gives no reason"))


def unanswered(why: str) -> Answer:
    """Of a request that the endpoint did not get to, and may get to another time."""
    return Answer(503, {"error": {"message": why}})


def read(content: bytes) -> tuple[dict[str, Answer], int]:
    """What an output or error file says, by key, and how many of its lines cannot be read."""
    answers: dict[str, Answer] = {}
    torn = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answers[row["custom_id"]] = _answer(row)
        except (ValueError, KeyError, TypeError, AttributeError):
            torn += 1
    return answers, torn
