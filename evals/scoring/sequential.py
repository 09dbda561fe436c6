"""Asks a scorer about a part of the items at a time and stops when the interval is narrow enough.

Looking several times and stopping at the look that pleases makes an interval too sure of itself. The looks are planned beforehand, and
each interval is taken at a level at which all of them hold together with the level wanted (Bonferroni), the last one included.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from analyzers.errors import Failed
from evals.results import Value
from evals.scorers import Scorer
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Item, Material
from evals.scoring.measures import Corrected, measured
from evals.statistics import LEVEL

WIDTH = 0.2
"""Of the interval of the measure, from its lower to its upper end."""
LOOKS = 4
DRAWS = 400
"""Resamples at a look."""


@runtime_checkable
class _Asking(Protocol):
    """A scorer whose questions are known beforehand."""

    def questions(self, material: Material, seed: int) -> Sequence[object] | Failed: ...


class Sequential:
    """A scorer that asks another one, whose role is to judge item by item, about no more items than it takes."""

    def __init__(self, scorer: Scorer, *, width: float = WIDTH, looks: int = LOOKS, level: float = LEVEL) -> None:
        """width: of the interval at which nothing more is asked; looks: parts that the items are asked in."""
        if scorer.role != "items":
            raise ValueError(f"{scorer.name!r} does not judge item by item, and cannot stop early")
        if not (width > 0 and looks >= 1 and 0 < level < 1):
            raise ValueError(f"a width of {width}, {looks} looks and a level of {level} are no plan")
        self._scorer = scorer
        self._width = width
        self._looks = looks
        self._level = 1 - (1 - level) / looks
        self.name = scorer.name

    @property
    def prompt(self) -> str:
        return self._scorer.prompt

    @property
    def measure(self) -> Measure:
        return self._scorer.measure

    @property
    def role(self) -> Role:
        return self._scorer.role

    @property
    def chance(self) -> float | None:
        return self._scorer.chance

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """One outcome an explanation, in order; what it did not take is counted in `saved`. Each explanation is asked as long as it takes.

        A part that fails as a whole fails the explanation, since what is left would not be the sample that was planned.
        """
        found: dict[int, Judged | Failed] = {}
        answers: dict[int, list[Answer]] = {number: [] for number in range(len(explanations))}
        parts = in_parts(material.items, self._looks, seed)
        left = [self._questions(material, part, seed) for part in parts]
        for asked, part in enumerate(parts, start=1):
            open_ = [number for number in range(len(explanations)) if number not in found]
            if not open_:
                break
            judged = await self._scorer.judge([explanations[number] for number in open_], replace(material, items=part), seed=seed)
            for number, outcome in zip(open_, judged, strict=True):
                if isinstance(outcome, Failed):
                    found[number] = outcome
                    continue
                answers[number] += outcome.answers
                told = Corrected(tuple(answers[number]), outcome.probabilities, saved=sum(left[asked:]), level=self._level)
                if asked == len(parts) or self._enough(told, seed):
                    found[number] = told
        return [found.get(number, Failed("score", "there are no items")) for number in range(len(explanations))]

    def _questions(self, material: Material, part: tuple[Item, ...], seed: int) -> int:
        """How many are asked of a part of the items, of one explanation."""
        if not isinstance(self._scorer, _Asking):
            return len(part)
        questions = self._scorer.questions(replace(material, items=part), seed)
        return 0 if isinstance(questions, Failed) else len(questions)

    def _enough(self, told: Corrected, seed: int) -> bool:
        value = measured(told, self.measure, draws=DRAWS, seed=seed)[self.measure]
        return isinstance(value, Value) and value.high - value.low <= self._width


def in_parts(items: Sequence[Item], looks: int, seed: int) -> list[tuple[Item, ...]]:
    """The items in a seeded order in which what fires and what is silent alternate, cut into parts of about equal size.

    Where there are fewer of one sort they are spread over all parts, so that each has its share of both; with fewer than two items of
    either sort a part, there are fewer parts.
    """
    rng = np.random.default_rng(seed)
    sorts = [[item for item in items if item.fires is fires] for fires in (True, False)]
    spread: list[tuple[float, int, Item]] = []
    for sort, some in enumerate(sorts):
        order = rng.permutation(len(some)).tolist()
        spread += [((place + 0.5) / len(some), sort, some[number]) for place, number in enumerate(order)]
    ordered = [item for _, _, item in sorted(spread, key=lambda entry: entry[:2])]
    few = min(len(some) for some in sorts if some) if ordered else 0
    cuts = max(1, min(looks, few // 2))
    ends = [round(len(ordered) * (number + 1) / cuts) for number in range(cuts)]
    return [tuple(ordered[start:stop]) for start, stop in zip([0, *ends], ends, strict=False) if stop > start]
