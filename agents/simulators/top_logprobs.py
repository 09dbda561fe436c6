"""Simulates an excerpt with a chat model that returns the likeliest alternatives to each token: it writes a line a token.

The level of a token is the mean of the digits among the alternatives in the place of the digit it wrote, weighted by probability.
"""

import math
import re
from collections.abc import Sequence

from agents.llm import LLM, Chat, ChatReply, TokenLogprob
from agents.simulators import SIMULATORS
from agents.simulators.alignment import Row
from agents.simulators.written import Written, numbered
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

ALTERNATIVES = 10
"""Asked for in each place."""
TOKENS_A_LINE = 12
"""Allowed for each line of the answer: number, tab, token, tab, level, line end."""

_LINE = re.compile(r"^[ \t]*(\d+)[ \t]*\t(.*)\t[ \t]*(\d)[ \t]*$", re.MULTILINE)


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
class TopLogprobs(Written):
    """The line-by-line simulator around a chat model that returns top log-probabilities."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm, "top-logprobs", "simulate_lines")

    def request(self, explanation: str, excerpt: Excerpt) -> Chat:
        """What is asked for one excerpt."""
        messages = self.turns(explanation, excerpt)
        return Chat(messages=messages, max_tokens=TOKENS_A_LINE * len(excerpt.tokens), top_logprobs=ALTERNATIVES)

    def answer(self, tokens: Sequence[str], levels: Sequence[int]) -> str:
        """How a few-shot answer is written."""
        return self._prompt.render("assistant", lines=numbered(tokens, levels))

    def read(self, reply: ChatReply) -> list[Row[float]] | Failed:
        """The lines of a reply; Failed where it came without log-probabilities."""
        if reply.logprobs is None:
            return Failed("simulate", f"{self._llm.name!r} returned no log-probabilities")
        return rows(reply.logprobs)
