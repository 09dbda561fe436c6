"""Does stated confidence fall when the words are removed that the model called decisive?

A model answers a text and names the words that decided (agents.self_explanations, top-k, predict-first). Its answer and stated confidence
are asked for the whole text, without those words, and without as many random words, DRAWS times. What it gives to its answer is the stated
confidence where it gives the same answer, and 1 minus that where it gives another one: the most that is left for the first.

whole, without, without_random     what the model gives to its answer on the whole text, without decisive, without random words
fall, fall_random                  whole minus without, whole minus without_random
difference                         fall minus fall_random: above 0 confidence knows what decided
changed, changed_random            share of items, and of draws, that have another answer than the whole text

Xiong et al. (ICLR 2024, arXiv 2306.13063) ask for confidence, Huang et al. 2023 (arXiv 2310.11207) for decisive words; here one is held
against the other. Means are over items, with bootstrap intervals. Random words are drawn from those that have a letter or a digit, and from
all words and signs where these are fewer than the decisive ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.confidences import Asked, Outcome, Prompting
from agents.free_answers import alike
from agents.llm import LLM, Chat
from agents.self_explanations import ELICITATIONS, Asking, elicit, elicited
from agents.self_explanations.top_k import count
from analyzers.errors import Failed
from analyzers.units import Units
from evals.audit.rows import VOID, missing
from evals.calls import doing
from evals.confidence.results import Deletion, ItemDeletion
from evals.results import Value, stored
from evals.statistics import mean, sign_flip_p

DRAWS = 8
FORM = "top-k"
FIGURES = ("whole", "without", "without_random", "fall", "fall_random", "difference", "changed", "changed_random")


@dataclass(frozen=True)
class Deleting:
    """Whose confidence is asked for, and how."""

    llm: LLM
    prompting: Prompting
    asking: Asking
    seed: int

    def explain(self, units: Units) -> Chat:
        """The request for an answer and the words that decided."""
        return elicit(self.llm, self.asking, units, ELICITATIONS.get(FORM), "predict-first")

    def asked(self, units: Units, number: int, decisive: Sequence[int]) -> list[Asked] | Failed:
        """The whole text, that without the decisive units, and those without random ones; Failed where there can be none of these."""
        drawn = random_units(units, len(decisive), np.random.default_rng([self.seed, number]))
        if isinstance(drawn, Failed):
            return drawn
        texts = [units.text, *(units.written(dict.fromkeys(gone)) for gone in (decisive, *drawn))]
        return [Asked(self.asking, text) for text in texts]

    def forecast(self, units: Units, number: int) -> list[Chat]:
        """All that is asked about an item, with a text as long as the whole in the place of that without the decisive units."""
        if len(units) < 2:
            return []
        asked = self.asked(units, number, range(min(count(len(units)), len(units) - 1)))
        if isinstance(asked, Failed):
            return [self.explain(units)]
        whole, _, *random = asked
        without = Asked(self.asking, f"{units.text} -")
        return [self.explain(units), *self.prompting.requests(self.llm, [whole, without, *random])]

    async def __call__(self, units: Units, number: int) -> ItemDeletion | Failed:
        """What deleting does to an item. Raises what the model raises (no access, a limit)."""
        if len(units) < 2:
            return Failed("item", f"{len(units)} words, of which none can be deleted")
        form = ELICITATIONS.get(FORM)
        with doing("elicit", str(number)):
            (reply,) = await self.llm.answer([self.explain(units)])
        said = elicited(self.llm, self.asking, units, form, "predict-first", reply)
        if isinstance(said, Failed):
            return said
        decisive = [at for at, value in enumerate(said.said.values) if value > 0]
        if len(decisive) == len(units):
            return Failed("explain", "all words are called decisive, and nothing is left without them")
        asked = self.asked(units, number, decisive)
        if isinstance(asked, Failed):
            return asked
        with doing("delete", str(number)):
            outcomes = await self.prompting(self.llm, asked)
        return fallen(outcomes, said.answer, [units.texts[at] for at in decisive])


def random_units(units: Units, many: int, rng: np.random.Generator) -> list[list[int]] | Failed:
    """[draw] as many units: of those that have a letter or digit, and of all where these are too few.

    Failed where that many would be none of the units, or all of them.
    """
    if not 0 < many < len(units):
        return Failed("delete", f"{many} of {len(units)} words cannot be drawn so that some go and some are left")
    lettered = [at for at, text in enumerate(units.texts) if any(sign.isalnum() for sign in text)]
    pool = lettered if many <= len(lettered) else range(len(units))
    return [sorted(rng.choice(pool, size=many, replace=False).tolist()) for _ in range(DRAWS)]


def fallen(outcomes: Sequence[Outcome], explained: str, words: Sequence[str]) -> ItemDeletion | Failed:
    """From the outcomes for the whole text, that without decisive words, and those without random ones.

    Failed where one of the first two has no answer with a confidence, where fewer than half of the others have, and where the answer whose
    words are explained is not the one on the whole text.
    """
    whole, without, *random = (_stated(outcome) for outcome in outcomes)
    if isinstance(whole, Failed):
        return whole
    if isinstance(without, Failed):
        return without
    drawn = [one for one in random if not isinstance(one, Failed)]
    if 2 * len(drawn) < len(random):
        return next(one for one in random if isinstance(one, Failed))
    answer, sure = whole
    if not alike(answer, explained):
        return Failed("explain", "the words are of another answer than the one on the whole text")
    return ItemDeletion(
        answer=answer,
        words=list(words),
        whole=sure,
        without=_given_to(answer, without),
        changed=not alike(answer, without[0]),
        random=[_given_to(answer, one) for one in drawn],
        changed_random=float(np.mean([not alike(answer, one[0]) for one in drawn])),
    )


def deletion(prompting: str, found: Sequence[ItemDeletion | Failed], *, seed: int) -> Deletion:
    """Over items [item]."""
    known = [one for one in found if not isinstance(one, Failed)]
    by_name = _by_name(known)
    figures: dict[str, Value | Failed] = {name: mean(by_name[name], seed=seed) for name in FIGURES}
    failed = len(found) - len(known)
    return Deletion(
        prompting=prompting,
        n=len(known),
        n_failed=failed,
        n_draws=DRAWS,
        missing=missing(found),
        void=failed > VOID * len(found),
        figures=stored(figures),
        p=None if isinstance(figures["difference"], Failed) else sign_flip_p(by_name["difference"], two_sided=True, seed=seed),
    )


def _by_name(known: Sequence[ItemDeletion]) -> Mapping[str, list[float]]:
    at_random = [float(np.mean(one.random)) for one in known]
    return {
        "whole": [one.whole for one in known],
        "without": [one.without for one in known],
        "without_random": at_random,
        "fall": [one.whole - one.without for one in known],
        "fall_random": [one.whole - by_chance for one, by_chance in zip(known, at_random, strict=True)],
        "difference": [by_chance - one.without for one, by_chance in zip(known, at_random, strict=True)],
        "changed": [float(one.changed) for one in known],
        "changed_random": [one.changed_random for one in known],
    }


def _stated(outcome: Outcome) -> tuple[str, float] | Failed:
    """The answer and the confidence in it."""
    if isinstance(outcome.guesses, Failed):
        return outcome.guesses
    first = outcome.guesses[0]
    return first.confidence if isinstance(first.confidence, Failed) else (first.answer, first.confidence)


def _given_to(answer: str, stated: tuple[str, float]) -> float:
    """What is given to an answer, from an answer and the confidence in that."""
    return stated[1] if alike(answer, stated[0]) else 1 - stated[1]
