"""A predictor whose reasons are known exactly, and explainers of it that are right, half right, and wrong in known ways.

The log-odds of the first label are a bias, the weights of the words, and one term more where both words of a pair are there: a little
grammar ("not boring") that no sum of single words has. Words that are not in the vocabulary weigh nothing. So a word's Shapley value is
its weight, and for the two of the pair half of its term besides where both are there; leaving one of them out takes the whole term away.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, fsum
from types import MappingProxyType

import numpy as np

from agents.beliefs import Belief
from analyzers.attributions import Floats
from analyzers.units import Kept, words

LABELS = ("positive", "negative")
BIAS = 0.15
STRONG: Mapping[str, float] = MappingProxyType(
    {
        "not": 0.2,
        "boring": -1.5,
        "superb": 1.9,
        "lovely": 1.4,
        "clever": 1.2,
        "warm": 0.9,
        "honest": 0.7,
        "awful": -2.0,
        "dull": -1.3,
        "clumsy": -1.1,
        "noisy": -0.9,
        "late": -0.8,
    }
)
WEAK: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("the", "a", "of", "to", "in", "it", "was", "on", "at", "that"), 0.0),
        **{"we": 0.02, "and": 0.03, "with": 0.04, "music": 0.06, "evening": 0.08, "friends": 0.1},
        **{"they": -0.02, "there": -0.03, "for": -0.04, "queue": -0.06, "price": -0.08, "ending": -0.1},
    }
)
WEIGHTS: Mapping[str, float] = MappingProxyType({**STRONG, **WEAK})
PAIR = ("not", "boring")
TOGETHER = 2.4
"""Added where both words of the pair are there."""
SHORTEST, LONGEST = 5, 14
"""Words of an item."""
CLEAR = 0.3
"""Least log-odds of the label that an item is predicted to have."""


def log_odds(some: Iterable[str]) -> float:
    """Of the first label, for a text of these words."""
    said = list(some)
    return _sum([WEIGHTS.get(word, 0.0) for word in said], pair=all(word in said for word in PAIR))


def belief(text: str) -> Belief:
    """About a written text, whatever else than the words of the vocabulary is in it."""
    return _belief(log_odds(word.casefold() for word in words(text).texts))


def _sum(weights: Sequence[float], *, pair: bool) -> float:
    # Rounded once, so that the order of the words makes no difference.
    return fsum((BIAS, *weights, TOGETHER if pair else 0.0))


def _belief(odds: float) -> Belief:
    first, second = LABELS
    label = first if odds > 0 else second if odds < 0 else None
    return Belief(label, {first: 1 / (1 + exp(-odds)), second: 1 / (1 + exp(odds))})


@dataclass(frozen=True)
class PlantedItem:
    """A text of different words of the vocabulary, each a unit."""

    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """[unit]"""
        return tuple(WEIGHTS[word] for word in self.words)

    @cached_property
    def pair(self) -> Kept:
        """The units of the pair; none where not both of its words are there."""
        return frozenset(map(self.words.index, PAIR)) if set(PAIR) <= set(self.words) else frozenset()

    @cached_property
    def label(self) -> str:
        """The predicted one."""
        return LABELS[0] if log_odds(self.words) > 0 else LABELS[1]

    def believes(self, kept: Kept) -> Belief:
        """About the text with only these units."""
        return _belief(_sum([self.weights[unit] for unit in kept], pair=bool(self.pair) and self.pair <= kept))

    @property
    def shapley(self) -> Floats:
        """[unit] exact Shapley values of the log-odds of the predicted label."""
        return self._with(TOGETHER / 2)

    @property
    def effects(self) -> Floats:
        """[unit] how far the log-odds of the predicted label fall where the unit alone is left out."""
        return self._with(TOGETHER)

    def _with(self, share: float) -> Floats:
        sign = 1 if self.label == LABELS[0] else -1
        return sign * np.array([weight + share * (unit in self.pair) for unit, weight in enumerate(self.weights)])


def draw(count: int, seed: int) -> list[PlantedItem]:
    """Items of different lengths. Every second one has the pair; of those that have it, and of the others, half have either label."""
    rng = np.random.default_rng(seed)
    return [_draw(rng, pair=number % 2 == 0, label=LABELS[number // 2 % 2]) for number in range(count)]


def _draw(rng: np.random.Generator, *, pair: bool, label: str) -> PlantedItem:
    others = [word for word in STRONG if word not in PAIR]
    while True:
        length = int(rng.integers(SHORTEST, LONGEST + 1))
        strong = [*PAIR] if pair else []
        strong += rng.choice(others, size=max(2, length // 3) - len(strong), replace=False).tolist()
        weak = rng.choice(list(WEAK), size=length - len(strong), replace=False).tolist()
        item = PlantedItem(tuple(rng.permutation([*strong, *weak]).tolist()))
        if item.label == label and abs(log_odds(item.words)) >= CLEAR:
            return item


Explainer = Callable[[PlantedItem, np.random.Generator], Floats]
"""[unit] how much each unit is said to speak for the predicted label."""


def honest(item: PlantedItem, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """The exact Shapley values."""
    return item.shapley


def half_honest(item: PlantedItem, rng: np.random.Generator) -> Floats:
    """Half of the units have their own values, the others exchange theirs at random."""
    values = item.shapley
    lied = rng.choice(len(values), size=len(values) // 2, replace=False)
    values[lied] = values[rng.permutation(lied)]
    return values


def blind(item: PlantedItem, rng: np.random.Generator) -> Floats:
    """The exact values in random places."""
    return rng.permutation(item.shapley)


def dishonest(item: PlantedItem, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """What speaks for the label is said to speak against it."""
    return -item.shapley


def everything(item: PlantedItem, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """Every unit is said to matter alike."""
    return np.ones(len(item.words))


EXPLAINERS: Mapping[str, Explainer] = MappingProxyType(
    {"honest": honest, "half-honest": half_honest, "random": blind, "reversed": dishonest, "mentions everything": everything}
)
