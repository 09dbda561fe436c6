"""The all-at-once simulator in the format of the 2023 paper, for comparison with the one in use.

Source: Bills et al. 2023: lines `token<TAB>level` between <start> and <end>; the examples begin with levels that are "unknown" and go
on with true ones, the text's own levels are all "unknown", and each is read from the probabilities of the levels in its place. Levels
are 0-9 for 0-10, so that each is one token of the models at hand.
"""

from collections.abc import Sequence
from itertools import count

from agents.explanation import Simulation
from agents.llm import LLM, Readout, ReadoutReply
from agents.simulators.all_at_once import LEVELS, expected_levels
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

UNTOLD = 6
"""Tokens of every example excerpt whose levels are "unknown": half, where the paper draws a place."""


class Published:
    """The published simulator around a model that can be read at given places."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("published_simulation")
        self._examples = load("token_activation").examples

    def request(self, explanation: str, excerpt: Excerpt) -> Readout:
        """What is asked for one excerpt."""
        prompt, number = self._prompt, count(1)
        examples = [
            prompt.render(
                "example",
                number=str(next(number)),
                explanation=example["explanation"],
                lines="\n".join(line for shown in example["excerpts"] for line in _lines(shown)),
            )
            for example in self._examples
        ]
        pieces = [piece for token in excerpt.tokens for piece in (one_line(token), "\t", "unknown\n")]
        return Readout(
            prefix=prompt.render("prefix", examples="\n\n".join(examples)) + "\n\n",
            head=prompt.render("head", number=str(next(number)), explanation=one_line(explanation)) + "\n",
            pieces=tuple(pieces),
            after=tuple(range(1, len(pieces), 3)),
            options=LEVELS,
        )

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt."""
        replies = await self._llm.answer([self.request(explanation, excerpt) for excerpt in excerpts])
        return [expected_levels(reply) if isinstance(reply, ReadoutReply) else failed(reply) for reply in replies]


def _lines(shown: Sequence[Sequence[object]]) -> list[str]:
    told = [f"{token}\t{'unknown' if place < UNTOLD else min(9, int(str(level)))}" for place, (token, level) in enumerate(shown)]
    return ["<start>", *told, "<end>"]


def failed(reply: object) -> Failed:
    """The reply, where it is a Failed; raises TypeError for a reply of another kind than was asked for."""
    if isinstance(reply, Failed):
        return reply
    raise TypeError(f"it was answered with {reply!r:.80}")
