"""Surprisal: how much less the text surprises a model that was told the explanation than one that was told nothing.

Source: delphi's surprisal scorer, which leaves the two figures of a text as they are; here their difference is what excerpts that the site
fires in should have more of than those it is silent in.
"""

import math
from collections.abc import Sequence

from agents.llm import LLM, Choice, ChoiceReply, Message, Reply
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Material
from prompts import load

NONE = Failed("score", "the model gives the text no probability")


@SCORERS.add("surprisal", needs=frozenset({"choice"}))
class Surprisal:
    """The surprisal scorer around a model whose log-probabilities of given texts can be read."""

    measure: Measure = "auroc"
    role: Role = "items"
    chance = 0.5

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("surprisal")
        self.name = f"surprisal({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    def request(self, explanation: str, excerpt: Excerpt) -> Choice:
        """How likely the excerpt is after the explanation; the null one where that is empty."""
        prompt = self._prompt
        told = prompt.render("user", explanation=one_line(explanation).strip() or prompt.render("null"))
        turns = (Message(role="user", content=told), Message(role="assistant", content=prompt.render("lead")))
        return Choice(messages=turns, options=(f" {one_line(excerpt.text).strip()}",))

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """Predictions are (log p(text | explanation) - log p(text | null)) / tokens of the excerpt, in nats."""
        del seed
        excerpts = [item.excerpt for item in material.items]
        texts = list(dict.fromkeys([*explanations, ""]))
        replies = iter(await self._llm.answer([self.request(text, excerpt) for text in texts for excerpt in excerpts]))
        found = {text: [self._read(next(replies)) for _ in excerpts] for text in texts}
        return [self._judged(material, found[text], found[""]) for text in explanations]

    def _read(self, reply: Reply | Failed) -> float | Failed:
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChoiceReply):
            raise TypeError(f"{self._llm.name!r} answered a choice with {reply!r:.80}")
        return reply.logprobs[0] if math.isfinite(reply.logprobs[0]) else NONE

    def _judged(self, material: Material, told: Sequence[float | Failed], null: Sequence[float | Failed]) -> Judged:
        answers = []
        for item, mine, without in zip(material.items, told, null, strict=True):
            drop = _drop(mine, without, len(item.excerpt.tokens))
            answers.append(Answer(item.excerpt.key, item.excerpt.document, float(item.fires), drop, item.group))
        return Judged(tuple(answers), probabilities=False)


def _drop(told: float | Failed, null: float | Failed, tokens: int) -> float | Failed:
    if isinstance(told, Failed):
        return told
    return null if isinstance(null, Failed) else (told - null) / tokens
