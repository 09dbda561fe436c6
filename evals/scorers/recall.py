"""Says how much of what the site does the explanation covers: the share of an activation-weighted sample that the detector says yes to.

Excerpts of the whole held-out corpus come into the sample with a probability in proportion to their loudest activation, so that the weak
ones count for what they are and not only the loudest, which explainers see. The groups are quarters of the sample, q4 the loudest.
Whoever says yes to all has a recall of 1, so the precision on the corpus stands beside it (evals.scoring.measures.Recalled).
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from agents.llm import LLM
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scorers.detection import asked
from evals.scoring.gathering import QUARTERS, Gathered
from evals.scoring.judged import Judged, Measure, Role
from evals.scoring.material import Material
from evals.scoring.measures import Recalled
from evals.scoring.yes_no import Asked, YesNo


class Recall(YesNo):
    """The recall scorer around a chat model, with the questions of the detection scorer; its share is the mean probability of a yes."""

    measure: Measure = "share"
    role: Role = "apart"

    def __init__(self, llm: LLM, *, contrast: bool = False) -> None:
        super().__init__(llm, "recall", "detection", contrast=contrast)
        # Without contrast, whoever says yes to everything covers everything: the null explanation shows how much of that there is.
        self.chance = 0.5 if contrast else None

    def questions(self, material: Material, seed: int) -> list[Asked] | Failed:
        """Of the weighted sample; where none was drawn, one of the firing items."""
        sample = material.weighted or drawn(material, seed)
        if not sample:
            return Failed("score", "no excerpt fires")
        loudest = np.array([excerpt.activations.max() for excerpt in sample])
        quarter = np.argsort(np.argsort(loudest, kind="stable"), kind="stable") * len(QUARTERS) // len(sample)
        return [asked(excerpt, True, QUARTERS[number]) for excerpt, number in zip(sample, quarter.tolist(), strict=True)]

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """One outcome an explanation, in order; raises what the language model raises (no access, a limit)."""
        sample = self.questions(material, seed)
        if isinstance(sample, Failed):
            return [sample] * len(explanations)
        beside = corpus(material)
        told = await self.told(explanations, [*sample, *beside])
        return [
            Recalled(self.judged(sample, row[: len(sample)]).answers, corpus=self.judged(beside, row[len(sample) :]).answers)
            for row in told
        ]


def drawn(material: Material, seed: int) -> list[Excerpt]:
    """As many of the firing excerpts as there are, each time with a probability in proportion to its loudest activation."""
    firing = [item.excerpt for item in material.firing]
    loudest = np.array([excerpt.activations.max() for excerpt in firing], np.float64)
    places = np.random.default_rng(seed).choice(len(firing), len(firing), p=loudest / loudest.sum()) if firing else ()
    return [firing[place] for place in places]


def corpus(material: Material) -> list[Asked]:
    """Questions that stand for the corpus: firing and silent windows by how many there are of each, or else the random excerpts."""
    if isinstance(material, Gathered):
        silent = [item for item in material.silent if item.group == "random"]
        parts = ((material.firing, material.firing_windows), (silent, material.silent_windows))
        return [asked(item.excerpt, item.fires, item.group, windows / len(items)) for items, windows in parts for item in items]
    return [asked(item.excerpt, item.fires, item.group) for item in material.items if item.excerpt.stratum == "random"]


SCORERS.add("recall", needs=frozenset({"chat"}), rank=6)(Recall)
SCORERS.add("recall-contrast", needs=frozenset({"chat"}), rank=7)(partial(Recall, contrast=True))
