"""Intruder: five marked excerpts, one of which the site is silent in; can a model tell which?

It needs no explanation and judges none: it says whether what the site fires on can be seen from its excerpts at all, so every explanation
gets the same outcome. Source: delphi's intruder detection, which marks nothing in the intruder; here it has as many marks as another of the
excerpts, on tokens drawn anew each time, so that bare text does not give it away. Its place goes around, so that a model which always says
the same number gets chance.
"""

from collections.abc import Sequence

import numpy as np

from agents.llm import LLM, Message
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.asking import Conversation, pick
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.mark_placing import Bools, fires
from evals.scoring.marked_lines import example_lines, lines
from evals.scoring.material import Item, Material
from prompts import load

SHOWN = 5
ROUNDS = 10
"""A multiple of SHOWN: the intruder stands in every place equally often."""
PLACES = tuple(str(place + 1) for place in range(SHOWN))


@SCORERS.add("intruder", needs=frozenset({"chat"}))
class Intruder:
    """The intruder scorer around a chat model."""

    measure: Measure = "share"
    role: Role = "apart"
    chance = 1 / SHOWN

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("intruder")
        self.name = f"intruder({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """An answer a round: the probability given to the intruder; asked once for all explanations. Failed where excerpts are few."""
        loud, quiet = material.firing, material.silent
        if len(loud) < SHOWN - 1 or not quiet:
            few = Failed("score", f"{SHOWN - 1} firing excerpts and a silent one are needed; there are {len(loud)} and {len(quiet)}")
            return [few] * len(explanations)
        rng = np.random.default_rng(seed)
        order, places = rng.permutation(len(quiet)), rng.permutation(SHOWN)
        intruders = [quiet[order[number % len(quiet)]] for number in range(ROUNDS)]
        at = [int(places[number % SHOWN]) for number in range(ROUNDS)]
        asked = [self._conversation(drawn(loud, *pair, material.peak, rng)) for pair in zip(intruders, at, strict=True)]
        answers = []
        for number, found in enumerate(await pick(self._llm, asked, PLACES)):
            said = found if isinstance(found, Failed) else found[at[number]]
            excerpt = intruders[number].excerpt
            answers.append(Answer(f"round/{number} {excerpt.key}", excerpt.document, 1.0, said, intruders[number].group))
        return [Judged(tuple(answers))] * len(explanations)

    def _conversation(self, shown: Sequence[tuple[Excerpt, Bools]]) -> Conversation:
        prompt, lead = self._prompt, self._prompt.render("lead")
        turns = [Message(role="system", content=prompt.render("system"))]
        for shot in prompt.examples:
            turns.append(Message(role="user", content=prompt.render("user", excerpts=example_lines(shot["excerpts"]))))
            turns.append(Message(role="assistant", content=f"{lead} {shot['answer']}"))
        question = Message(role="user", content=prompt.render("user", excerpts=lines(shown)))
        return (*turns, question, Message(role="assistant", content=lead))


def drawn(loud: Sequence[Item], intruder: Item, place: int, peak: float, rng: np.random.Generator) -> list[tuple[Excerpt, Bools]]:
    """[place] SHOWN excerpts with their marks, of which the one at `place` is the intruder, with as many marks as one of the others has."""
    others = [loud[number].excerpt for number in rng.choice(len(loud), SHOWN - 1, replace=False)]
    shown = [(excerpt, fires(excerpt, peak)) for excerpt in others]
    tokens = intruder.excerpt.tokens
    words = [at for at, token in enumerate(tokens) if any(map(str.isalnum, token))] or list(range(len(tokens)))
    many = min(int(shown[int(rng.integers(len(shown)))][1].sum()), len(words))
    random = np.zeros(len(tokens), np.bool_)
    random[rng.choice(words, many, replace=False)] = True
    shown.insert(place, (intruder.excerpt, random))
    return shown
