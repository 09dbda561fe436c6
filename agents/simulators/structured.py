"""Simulates an excerpt with a chat model that returns no log-probabilities: it writes the levels as JSON."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.llm import LLM, Chat, ChatReply
from agents.simulators import SIMULATORS
from agents.simulators.alignment import Row
from agents.simulators.written import Written
from analyzers.evidence import Excerpt

TOKENS_AN_ENTRY = 16
"""Allowed for each entry of the answer."""
_NAMES = (("number", "index", "i", "n"), ("token", "text"), ("level", "value", "activation"))
"""What number, token and level are called where an entry is written as an object."""

# Not `prefixItems`, which several servers refuse.
SCHEMA: Mapping[str, Any] = {
    "title": "levels",
    "type": "object",
    "properties": {
        "levels": {
            "type": "array",
            "items": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
        }
    },
    "required": ["levels"],
    "additionalProperties": False,
}


def json_values(text: str) -> Iterator[Any]:
    """Every JSON object or array that stands in the text, outermost first: whatever prose or code fence is around it."""
    decoder = json.JSONDecoder()
    at = 0
    while (at := min((i for i in (text.find("{", at), text.find("[", at)) if i >= 0), default=-1)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            at += 1
        else:
            yield value
            at = end


def _level(value: Any) -> float | None:
    """A level 0-9 as a number, also where it is written as a string; None for anything else."""
    if isinstance(value, str):
        value = int(value) if value.strip().isdecimal() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 9:
        return None
    return float(value)


def _row(entry: Any) -> Row[float | None] | None:
    if isinstance(entry, Mapping):
        entry = [next((entry[name] for name in names if name in entry), None) for names in _NAMES]
        if entry[1] is None or entry[2] is None:
            return None
    if not isinstance(entry, list) or len(entry) != 3 or any(isinstance(part, list | Mapping) for part in entry):
        return None
    index, token, level = entry
    whole = index if isinstance(index, int) and not isinstance(index, bool) else None
    return Row(whole, token if isinstance(token, str) else json.dumps(token), _level(level))


def rows(text: str) -> list[Row[float | None]]:
    """The [number, token, level] entries of a reply, wherever in its JSON they are; a cut-off reply gives those that are whole."""
    found: list[Row[float | None]] = []

    def walk(value: Any) -> None:
        row = _row(value)
        if row is not None:
            found.append(row)
        elif isinstance(value, Mapping | list):
            for inner in value.values() if isinstance(value, Mapping) else value:
                walk(inner)

    for value in json_values(text):
        walk(value)
    return found


@SIMULATORS.add("structured", needs=frozenset({"chat"}), rank=2)
class Structured(Written):
    """The JSON simulator around any chat model."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm, "structured", "simulate_json")

    def request(self, explanation: str, excerpt: Excerpt) -> Chat:
        """What is asked for one excerpt."""
        schema = SCHEMA if "json_schema" in self._llm.capabilities else None
        messages = self.turns(explanation, excerpt)
        return Chat(messages=messages, max_tokens=TOKENS_AN_ENTRY * len(excerpt.tokens) + 16, json_schema=schema)

    def answer(self, tokens: Sequence[str], levels: Sequence[int]) -> str:
        """How a few-shot answer is written."""
        entries = [[i, token, level] for i, (token, level) in enumerate(zip(tokens, levels, strict=True), start=1)]
        return self._prompt.render("assistant", json=json.dumps({"levels": entries}, ensure_ascii=False))

    def read(self, reply: ChatReply) -> list[Row[float | None]]:
        """The entries of a reply."""
        return rows(reply.text)
