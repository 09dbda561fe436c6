"""Simulates an excerpt with a chat model that returns no log-probabilities: it writes the levels as JSON."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agents.explanation import Scale, Simulation
from agents.llm import LLM, Chat, ChatReply, Message
from agents.simulators import SIMULATORS
from agents.simulators.alignment import Row, align
from agents.simulators.top_logprobs import numbered, split_levels
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

TOKENS_AN_ENTRY = 16
"""Allowed for each entry of the answer."""

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
        entry = list(entry.values())
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
class Structured:
    """The JSON simulator around any chat model."""

    scale: Scale = "level"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("simulate_json")
        self.name = f"structured({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    def request(self, explanation: str, excerpt: Excerpt) -> Chat:
        """What is asked for one excerpt."""
        prompt = self._prompt
        turns = [Message(role="system", content=prompt.render("system"))]
        for example in prompt.examples:
            tokens, levels = split_levels(example["tokens"])
            asked = prompt.render("user", explanation=example["explanation"], lines=numbered(tokens))
            entries = [[i, token, level] for i, (token, level) in enumerate(zip(tokens, levels, strict=True), start=1)]
            answer = prompt.render("assistant", json=json.dumps({"levels": entries}, ensure_ascii=False))
            turns += [Message(role="user", content=asked), Message(role="assistant", content=answer)]
        described = one_line(explanation) or prompt.render("null")
        turns.append(Message(role="user", content=prompt.render("user", explanation=described, lines=numbered(excerpt.tokens))))
        schema = SCHEMA if "json_schema" in self._llm.capabilities else None
        return Chat(messages=tuple(turns), max_tokens=TOKENS_AN_ENTRY * len(excerpt.tokens) + 16, json_schema=schema)

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt; a level that is missing or out of range is missing, Failed where no entry is usable."""
        replies = await self._llm.answer([self.request(explanation, excerpt) for excerpt in excerpts])
        return [self._read(reply, excerpt) for reply, excerpt in zip(replies, excerpts, strict=True)]

    def _read(self, reply: object, excerpt: Excerpt) -> Simulation | Failed:
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChatReply):
            raise TypeError(f"{self._llm.name!r} answered a chat with {reply!r:.80}")
        levels = align(rows(reply.text), [one_line(token) for token in excerpt.tokens])
        present = np.array([level is not None for level in levels])
        if not present.any():
            return Failed("simulate", f"no entry of the reply is a token of the excerpt with a level 0-9: {reply.text[:80]!r}")
        return Simulation(np.array([level or 0.0 for level in levels], dtype=np.float32), present, "level")
