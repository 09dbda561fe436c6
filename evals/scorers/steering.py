"""Has the subject write while the site is held up, and a judge find these texts among others by the explanation.

Source: the output side of Gur-Arieh et al. 2025 (arXiv 2501.08319): three beginnings, 25 tokens at temperature 0.75, the strength such
that the next-token distributions diverge by 0.25 nats, and two sets of texts of random sites of the same layer and kind beside it. The
negative side of a site is a site of its own, so each is only ever held up. A judge that prefers a place gains nothing by it: every
three sets are shown in three orders, the right one once in each place, so that what knows nothing of the texts gets just 1/3.
"""

from collections.abc import Sequence

import numpy as np

from agents.llm import LLM, Message
from agents.untrusted import one_line
from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scoring.asking import pick
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.labs import Steering
from evals.scoring.material import Material
from prompts import load

KL = 0.25
"""Mean divergence of the next token, nats."""
ROUNDS = 6
"""Times that texts are drawn, each beside two other random sites."""
SETS = 3
SPARE = 6
"""Random sites more than are needed: some cannot be held up so strongly."""
PLACES = tuple(str(place + 1) for place in range(SETS))

Texts = tuple[str, ...]


@SCORERS.add("steering", needs=frozenset({"chat"}))
class SteeringJudge:
    """The steering scorer around a chat model."""

    measure: Measure = "share"
    role: Role = "apart"
    chance = 1 / SETS

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("judge_steered")
        self._beginnings = tuple(section.text for section in load("steer").sections.values())
        self.name = f"steering({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the judge's prompt and of the beginnings."""
        return f"{self._prompt.hash}+{load('steer').hash}"

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """One answer a question: the probability given to the site's own set. Failed for all where the site cannot be steered."""
        rounds = self._rounds(material, seed)
        if isinstance(rounds, Failed):
            return [rounds] * len(explanations)
        orders = [_orders(np.random.default_rng([seed, number])) for number in range(len(rounds))]
        shown = [(sets, order) for sets, three in zip(rounds, orders, strict=True) for order in three]
        asked = [self._question(explanation, [sets[which] for which in order]) for explanation in explanations for sets, order in shown]
        picked = await pick(self._llm, asked, PLACES)
        outcomes: list[Judged | Failed] = []
        for start in range(0, len(picked), len(shown)):
            answers = []
            for number, (_, order) in enumerate(shown):
                found = picked[start + number]
                right = found if isinstance(found, Failed) else found[order.index(0)]
                answers.append(Answer(f"round/{number // SETS}/{number % SETS}", f"round/{number // SETS}", 1.0, right))
            outcomes.append(Judged(tuple(answers)))
        return outcomes

    def _rounds(self, material: Material, seed: int) -> list[tuple[Texts, ...]] | Failed:
        """[round] the site's texts, then those of two random sites; at least two rounds."""
        lab: object = material.lab
        if not isinstance(lab, Steering):
            return Failed("score", "only a subject can be steered, and there is none")
        own = lab.steered(self._beginnings, sign=1, kl=KL, seed=seed, samples=ROUNDS)
        if isinstance(own, Failed):
            return own
        wanted = (SETS - 1) * ROUNDS
        others: list[Texts] = []
        for number, other in enumerate(lab.others(wanted + SPARE, seed=seed), start=1):
            if len(others) == wanted:
                break
            steered = other.steered(self._beginnings, sign=1, kl=KL, seed=seed + number)
            if not isinstance(steered, Failed):
                others.append(steered.texts)
        rounds = len(others) // (SETS - 1)
        if rounds < 2:
            return Failed("score", f"{len(others)} other sites of the layer can be steered, too few to compare with")
        return [(own.samples[number], *others[(SETS - 1) * number : (SETS - 1) * (number + 1)]) for number in range(rounds)]

    def _question(self, explanation: str, sets: Sequence[Texts]) -> tuple[Message, ...]:
        """The conversation up to the answer."""
        prompt = self._prompt
        lead = prompt.render("lead")
        turns = [Message(role="system", content=prompt.render("system"))]
        for example in prompt.examples:
            answer = prompt.render("assistant", lead=lead, number=str(example["answer"]))
            turns += [
                Message(role="user", content=self._user(example["explanation"], example["sets"])),
                Message(role="assistant", content=answer),
            ]
        written = [[begun + text for begun, text in zip(self._beginnings, texts, strict=True)] for texts in sets]
        described = one_line(explanation) or prompt.render("null")
        return (*turns, Message(role="user", content=self._user(described, written)), Message(role="assistant", content=lead))

    def _user(self, explanation: str, sets: Sequence[Sequence[str]]) -> str:
        shown = [
            self._prompt.render("set", number=place, texts="\n".join(f"- {one_line(text)}" for text in texts))
            for place, texts in zip(PLACES, sets, strict=True)
        ]
        return self._prompt.render("user", explanation=explanation, sets="\n\n".join(shown))


def _orders(rng: np.random.Generator) -> list[list[int]]:
    """Three orders of three sets, each set once in each place, shuffled."""
    first = rng.permutation(SETS).tolist()
    turned = [[*first[by:], *first[:by]] for by in range(SETS)]
    return [turned[number] for number in rng.permutation(SETS)]
