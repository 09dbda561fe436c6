"""Simulates an excerpt with a chat model that returns the likeliest alternatives to each token: it writes a line a token.

The level of a token is the mean of the digits among the alternatives in the place of the digit it wrote, weighted by probability.
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from agents.explanation import Scale, Simulation
from agents.llm import LLM, Chat, ChatReply, Message, TokenLogprob
from agents.simulators import SIMULATORS
from agents.simulators.alignment import Row, align
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

ALTERNATIVES = 10
"""Asked for in each place."""
TOKENS_A_LINE = 12
"""Allowed for each line of the answer: number, tab, token, tab, level, line end."""

_LINE = re.compile(r"^[ \t]*(\d+)[ \t]*\t(.*)\t[ \t]*(\d)[ \t]*$", re.MULTILINE)


def numbered(tokens: Sequence[str], levels: Sequence[int] | None = None) -> str:
    """`number<TAB>token` lines, from 1, with `<TAB>level` where there are levels."""
    lines = [f"{i}\t{one_line(token)}" for i, token in enumerate(tokens, start=1)]
    return "\n".join(lines if levels is None else [f"{line}\t{level}" for line, level in zip(lines, levels, strict=True)])


def split_levels(tokens: Sequence[str | tuple[str, int]]) -> tuple[list[str], list[int]]:
    """Few-shot tokens and their levels; a bare token has level 0."""
    pairs = [(token, 0) if isinstance(token, str) else token for token in tokens]
    return [token for token, _ in pairs], [level for _, level in pairs]


def expected_level(place: TokenLogprob) -> float | None:
    """Mean of the digits among the alternatives (and the token written), weighted by probability; None if none is a digit."""
    mass = weighted = 0.0
    for text, logprob in dict([*place.top, (place.token, place.logprob)]).items():
        if re.fullmatch(r"\s*\d\s*", text, re.ASCII):
            probability = math.exp(logprob)
            mass += probability
            weighted += probability * int(text)
    return weighted / mass if mass > 0 else None


def rows(logprobs: Sequence[TokenLogprob]) -> list[Row[float]]:
    """The lines that were written, each with the expected level in its digit's place; lines of another form are dropped."""
    text = "".join(place.token for place in logprobs)
    place_of = [place for place in logprobs for _ in place.token]
    found = []
    for match in _LINE.finditer(text):
        level = expected_level(place_of[match.start(3)])
        if level is not None:
            found.append(Row(int(match[1]), match[2], level))
    return found


@SIMULATORS.add("top-logprobs", needs=frozenset({"chat", "top_logprobs"}), rank=1)
class TopLogprobs:
    """The line-by-line simulator around a chat model that returns top log-probabilities."""

    scale: Scale = "level"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("simulate_lines")
        self.name = f"top-logprobs({llm.name})"

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
            turns += [
                Message(role="user", content=asked),
                Message(role="assistant", content=prompt.render("assistant", lines=numbered(tokens, levels))),
            ]
        described = one_line(explanation) or prompt.render("null")
        turns.append(Message(role="user", content=prompt.render("user", explanation=described, lines=numbered(excerpt.tokens))))
        return Chat(messages=tuple(turns), max_tokens=TOKENS_A_LINE * len(excerpt.tokens), top_logprobs=ALTERNATIVES)

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt; Failed where the reply has no log-probabilities or none of its lines is a token of the excerpt."""
        replies = await self._llm.answer([self.request(explanation, excerpt) for excerpt in excerpts])
        return [self._read(reply, excerpt) for reply, excerpt in zip(replies, excerpts, strict=True)]

    def _read(self, reply: object, excerpt: Excerpt) -> Simulation | Failed:
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChatReply):
            raise TypeError(f"{self._llm.name!r} answered a chat with {reply!r:.80}")
        if reply.logprobs is None:
            return Failed("simulate", f"{self._llm.name!r} returned no log-probabilities")
        levels = align(rows(reply.logprobs), [one_line(token) for token in excerpt.tokens])
        present = np.array([level is not None for level in levels])
        if not present.any():
            return Failed("simulate", f"no line of the reply is a token of the excerpt: {reply.text[:80]!r}")
        return Simulation(np.array([level or 0.0 for level in levels], dtype=np.float32), present, "level")
