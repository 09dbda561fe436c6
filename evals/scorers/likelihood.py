"""Likelihood: how much likelier a model is to say the explanation itself when it sees the excerpts with their marks than without.

The question of the explainer, asked backwards: what a weak model cannot compare when asked to, it may still find likelier to say. Without
marks the same excerpts make the words of their text as likely, so that what is left is what the marks say. The drop in surprise of two
explanations decides between them; an explanation's score is its share of wins over the others of the call. Longer explanations have more
to gain, so two of about one length compare best.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from agents.llm import LLM, Choice, ChoiceReply, Message, Reply
from agents.untrusted import one_line
from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scorers.contest import Group, grouped
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.mark_placing import fires
from evals.scoring.marked_lines import example_lines, lines
from evals.scoring.material import Material
from prompts import load

MOST = 12
"""Firing excerpts, and at most as many silent ones."""
NONE = Failed("score", "the model gives the explanation no probability")


@SCORERS.add("likelihood", needs=frozenset({"choice"}))
class Likelihood:
    """The scorer around a model whose log-probabilities of given texts can be read."""

    measure: Measure = "share"
    role: Role = "contest"
    chance = 0.5

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("likelihood")
        self.name = f"likelihood({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    def request(self, explanations: Sequence[str], group: Group, peak: float, *, marks: bool) -> Choice:
        """How likely the explanations, all different, are after the excerpts with marks or without; these are read once for all of them."""
        prompt, lead = self._prompt, self._prompt.render("lead")
        turns = [Message(role="system", content=prompt.render("system"))]
        for shot in prompt.examples:
            turns.append(Message(role="user", content=prompt.render("user", excerpts=example_lines(shot["excerpts"]))))
            turns.append(Message(role="assistant", content=f"{lead} {shot['explanation']}"))
        shown = lines([(item.excerpt, fires(item.excerpt, peak) & marks) for item in group])
        turns += [Message(role="user", content=prompt.render("user", excerpts=shown)), Message(role="assistant", content=lead)]
        return Choice(messages=tuple(turns), options=tuple(explanations))

    def said(self, explanation: str) -> str:
        """As the model would write it."""
        return f" {one_line(explanation).strip() or self._prompt.render('null')}"

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """An answer an opponent: the probability that the marks speak for the explanation rather than for it. Failed for all where there
        is no opponent or the site fires in nothing."""
        if len(explanations) < 2:
            return [Failed("score", "a contest needs another explanation to stand against")] * len(explanations)
        groups = grouped(material, each=MOST, questions=1, seed=seed)
        if isinstance(groups, Failed):
            return [groups] * len(explanations)
        said = [self.said(text) for text in explanations]
        options = list(dict.fromkeys(said))
        requests = [self.request(options, groups[0], material.peak, marks=marks) for marks in (True, False)]
        told, without = (self._read(reply, options) for reply in await self._llm.answer(requests))
        gains = [_minus(told[text], without[text]) for text in said]
        outcomes: list[Judged | Failed] = []
        for number, mine in enumerate(gains):
            odds = [(other, _minus(mine, theirs)) for other, theirs in enumerate(gains) if other != number]
            answers = (
                Answer(f"against {other}", f"against {other}", 1.0, value if isinstance(value, Failed) else float(expit(value)))
                for other, value in odds
            )
            outcomes.append(Judged(tuple(answers)))
        return outcomes

    def _read(self, reply: Reply | Failed, options: Sequence[str]) -> dict[str, float | Failed]:
        if isinstance(reply, Failed):
            return dict.fromkeys(options, reply)
        if not isinstance(reply, ChoiceReply):
            raise TypeError(f"{self._llm.name!r} answered a choice with {reply!r:.80}")
        return {text: value if np.isfinite(value) else NONE for text, value in zip(options, reply.logprobs, strict=True)}


def _minus(one: float | Failed, other: float | Failed) -> float | Failed:
    if isinstance(one, Failed):
        return one
    return other if isinstance(other, Failed) else one - other
