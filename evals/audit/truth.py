"""What perturbing one item does to what a model holds of it: every text is asked about once, however many methods want it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.beliefs import Belief, Question, Reader, believe
from agents.llm import LLM
from analyzers.errors import Failed
from analyzers.perturbations import OPERATORS
from analyzers.units import Kept, Units


@dataclass(frozen=True)
class Perturbed:
    """One item under one operator."""

    units: Units
    operator: str
    instead: Mapping[int, str | None]
    """What stands for each unit that is taken away."""

    @classmethod
    def by(cls, operator: str, units: Units, others: Sequence[str], seed: Sequence[int]) -> "Perturbed":
        """others: units that may be put for a unit that is replaced; the same seed takes each unit away in the same way."""
        replace = OPERATORS.get(operator)
        instead = {at: replace(units, at, others, np.random.default_rng([*seed, at])) for at in range(len(units))}
        return cls(units, operator, instead)

    def text(self, kept: Kept) -> str:
        """The item with these units only."""
        if len(kept) == len(self.units):
            return self.units.text
        return self.units.written({at: self.instead[at] for at in range(len(self.units)) if at not in kept})


@dataclass
class Truth:
    """Finds out what the model holds of an item under one operator, asked in one way."""

    llm: LLM
    reader: Reader
    perturbed: Perturbed
    question: Callable[[str], Question]
    """How a text is asked about."""
    beliefs: dict[str, Belief | Failed] = field(default_factory=dict)
    """By text."""
    asked: int = 0
    """Different sets of units that each method wanted, added up over methods."""
    sets: dict[Kept, str] = field(default_factory=dict)
    """Of all methods, with their texts."""
    texts: list[str] = field(default_factory=list)
    """Planned besides."""

    def plan(self, *wanted: Iterable[Kept]) -> None:
        """Note what methods want, each an iterable of sets of kept units."""
        for method in wanted:
            for kept in dict.fromkeys(method):
                self.asked += 1
                if kept not in self.sets:
                    self.sets[kept] = self.perturbed.text(kept)

    @property
    def unknown(self) -> list[str]:
        """Different texts that were planned and not yet asked about."""
        return [text for text in dict.fromkeys([*self.sets.values(), *self.texts]) if text not in self.beliefs]

    async def fill(self) -> None:
        """Ask about all that is planned and not known."""
        texts = self.unknown
        found = await believe(self.llm, self.reader, [self.question(text) for text in texts])
        self.beliefs |= zip(texts, found, strict=True)

    def __call__(self, kept: Kept) -> Belief | Failed:
        """What it holds of the item with these units only, which have been planned and filled in."""
        return self.beliefs[self.sets[kept]]

    def whole(self) -> Belief | Failed:
        """What it holds of the item."""
        return self(frozenset(range(len(self.perturbed.units))))
