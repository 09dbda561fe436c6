"""Simulates a whole excerpt in one forward pass: the level of each token is read from the probabilities of the digits in its place.

Source: Bills et al. 2023 (the level of every token "unknown", read from log-probabilities), with levels 0-9 so that each is one token.
The level is read right after the token and a placeholder of one token stands for it, so an excerpt costs two prompt tokens a token;
with a tab between token and level it would cost three and be no better, and without the placeholder the model loses the form
(docs/decisions has the figures). Pieces are tokenised one by one, so that it is known exactly where a token ends.
"""

from collections.abc import Sequence

import numpy as np

from agents.explanation import Scale, Simulation
from agents.llm import LLM, Readout, ReadoutReply
from agents.simulators import SIMULATORS
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

LEVELS = tuple(str(level) for level in range(10))
PLACEHOLDER = " ?\n"
"""Stands where the level would: one token of the models in use, so that a token of the excerpt costs two. Its space keeps it from
melting into the token before where an endpoint tokenises the whole text, and the levels are better with it."""
MASS = 0.001
"""Least probability that the levels must have together; with less, the model was about to write something else. Low, since the
placeholders before it draw the model to write another (measured down to 0.003 late in an excerpt)."""


def example_lines(tokens: Sequence[str | tuple[str, int]]) -> str:
    """One line a token, its level right after it; a bare token has level 0."""
    pairs = [(token, 0) if isinstance(token, str) else token for token in tokens]
    return "\n".join(f"{one_line(token)}{level}" for token, level in pairs)


def expected_levels(reply: ReadoutReply) -> Simulation:
    """[token] sum of level x probability over the levels that were returned, renormalised; missing where they have less than MASS."""
    logprobs = np.array([[-np.inf if value is None else value for value in row] for row in reply.logprobs], dtype=np.float64)
    probabilities = np.exp(logprobs.reshape(-1, len(LEVELS)))
    mass = probabilities.sum(axis=1)
    present = mass >= MASS
    values = probabilities @ np.arange(len(LEVELS)) / np.where(present, mass, 1.0)
    return Simulation(values.astype(np.float32), present, "level")


@SIMULATORS.add("all-at-once", needs=frozenset({"readout"}), rank=0)
class AllAtOnce:
    """The all-at-once simulator around a model that can be read at given places."""

    scale: Scale = "level"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("all_at_once")
        self.name = f"all-at-once({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    def request(self, explanation: str, excerpt: Excerpt) -> Readout:
        """What is asked for one excerpt."""
        prompt = self._prompt
        examples = [
            prompt.render("example", explanation=example["explanation"], lines=example_lines(example["tokens"]))
            for example in prompt.examples
        ]
        pieces = [piece for token in excerpt.tokens for piece in (one_line(token), PLACEHOLDER)]
        return Readout(
            prefix=prompt.render("prefix", examples="\n\n".join(examples)) + "\n\n",
            head=prompt.render("head", explanation=one_line(explanation) or prompt.render("null")) + "\n",
            pieces=tuple(pieces),
            after=tuple(range(0, len(pieces), 2)),
            options=LEVELS,
        )

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt; Failed where no token of it got a level."""
        outcomes: list[Simulation | Failed] = []
        replies = await self._llm.answer([self.request(explanation, excerpt) for excerpt in excerpts])
        for reply, excerpt in zip(replies, excerpts, strict=True):
            if isinstance(reply, Failed):
                outcomes.append(reply)
                continue
            if not isinstance(reply, ReadoutReply):
                raise TypeError(f"{self._llm.name!r} answered a readout with {reply.kind!r}")
            simulation = expected_levels(reply)
            if len(simulation.values) != len(excerpt.tokens):
                outcomes.append(Failed("simulate", f"{len(simulation.values)} levels came back for {len(excerpt.tokens)} tokens"))
            elif not simulation.present.any():
                outcomes.append(Failed("simulate", "the model gave no level to any token"))
            else:
                outcomes.append(simulation)
        return outcomes
