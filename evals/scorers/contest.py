"""Contest: two explanations of the same marked excerpts, and which of them fits better.

Excerpts that the site is silent in stand among those it fires in, near misses first, without marks: what tells "numbers" from "numbers,
but only of people" is where the marks are not. Every question is asked in both orders and the log-odds of the two are averaged, so that a
model which prefers a letter wins nothing by it. An explanation's score is its share of wins over the other explanations of the call, and
so depends on them; it says which is better, not whether any is good.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.special import expit, logit

from agents.llm import LLM, Message
from agents.untrusted import one_line
from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scoring.asking import SURE, Conversation, pick
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.mark_placing import fires
from evals.scoring.marked_lines import example_lines, lines
from evals.scoring.material import Item, Material
from prompts import load

A, B = "A", "B"
EACH = 2
"""Firing excerpts of a question, and at most as many silent ones."""
QUESTIONS = 4
"""Asked of every two explanations, in both orders."""

Group = tuple[Item, ...]


class Contesting:
    """A chat model that is asked about every two explanations."""

    measure: Measure = "share"
    role: Role = "contest"
    chance = 0.5

    def __init__(self, llm: LLM, kind: str, *, each: int, questions: int) -> None:
        """each: firing excerpts of a question, and at most as many silent ones; questions: of every two explanations."""
        self._llm = llm
        self._prompt = load("contest")
        self._each = each
        self._questions = questions
        self.name = f"{kind}({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """An answer a question and opponent: the probability that the explanation is the one that fits. Failed for all where there is
        no opponent or the site fires in nothing."""
        if len(explanations) < 2:
            return [Failed("score", "a contest needs another explanation to stand against")] * len(explanations)
        groups = grouped(material, each=self._each, questions=self._questions, seed=seed)
        if isinstance(groups, Failed):
            return [groups] * len(explanations)
        pairs = list(combinations(range(len(explanations)), 2))
        # What a model has read of the excerpts serves all questions about them, so these stay together.
        shown = [self._shown(group, material.peak) for group in groups]
        asked = [
            self._conversation(text, explanations[first], explanations[second])
            for text in shown
            for one, other in pairs
            for first, second in ((one, other), (other, one))
        ]
        found = iter(await pick(self._llm, asked, (A, B)))
        answers: list[list[Answer]] = [[] for _ in explanations]
        for group in groups:
            # No firing excerpt stands in two questions, but silent ones may.
            first = next(item.excerpt for item in group if item.fires)
            document = first.document if len(groups) > 1 else ""
            for one, other in pairs:
                won = winning(next(found), next(found))
                lost = won if isinstance(won, Failed) else 1 - won
                for mine, theirs, prediction in ((one, other, won), (other, one, lost)):
                    # Of a single question the opponents are what varies.
                    answers[mine].append(Answer(f"{first.key} against {theirs}", document or f"against {theirs}", 1.0, prediction))
        return [Judged(tuple(mine)) for mine in answers]

    def _shown(self, group: Group, peak: float) -> str:
        return lines([(item.excerpt, fires(item.excerpt, peak)) for item in group])

    def _conversation(self, shown: str, a: str, b: str) -> Conversation:
        prompt = self._prompt
        turns = [Message(role="system", content=prompt.render("system"))]
        lead = prompt.render("lead")
        for shot in prompt.examples:
            turns.append(self._question(example_lines(shot["excerpts"]), shot["a"], shot["b"]))
            turns.append(Message(role="assistant", content=f"{lead} {shot['answer']}"))
        return (*turns, self._question(shown, a, b), Message(role="assistant", content=lead))

    def _question(self, shown: str, a: str, b: str) -> Message:
        null = self._prompt.render("null")
        text = self._prompt.render("user", excerpts=shown, a=one_line(a).strip() or null, b=one_line(b).strip() or null)
        return Message(role="user", content=text)


@SCORERS.add("contest", needs=frozenset({"chat"}))
class Contest(Contesting):
    """A few excerpts a question."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm, "contest", each=EACH, questions=QUESTIONS)


def winning(forth: tuple[float, ...] | Failed, back: tuple[float, ...] | Failed) -> float | Failed:
    """The probability that the one wins over the other, from those of A and B when it stands first and when it stands second."""
    for found in (forth, back):
        if isinstance(found, Failed):
            return found
    odds = logit(np.clip(np.array([forth, back], np.float64)[:, 0], SURE, 1 - SURE))
    return float(expit((odds[0] - odds[1]) / 2))


def grouped(material: Material, *, each: int, questions: int, seed: int) -> list[Group] | Failed:
    """Excerpts to be shown together, in random order: `each` firing ones and up to as many silent ones, no firing one twice.

    Silent ones are near misses as far as there are some, and come again where there are fewer than are needed. With fewer than `each`
    firing excerpts there is one group. Failed where nothing fires.
    """
    rng = np.random.default_rng(seed)
    loud = [material.firing[at] for at in rng.permutation(len(material.firing))]
    quiet = [material.silent[at] for at in rng.permutation(len(material.silent))]
    quiet.sort(key=lambda item: item.group != "near-miss")
    if not loud:
        return Failed("score", "the site fires in none of the excerpts")
    groups: list[Group] = []
    for number in range(max(1, min(questions, len(loud) // each))):
        some = loud[number * each : (number + 1) * each]
        beside = {(number * each + at) % len(quiet): None for at in range(each)} if quiet else {}
        group = [*some, *(quiet[at] for at in beside)]
        groups.append(tuple(group[at] for at in rng.permutation(len(group))))
    return groups
