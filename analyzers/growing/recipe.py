"""How a small model is trained: what decides its weights, for how many steps, and at which of them it is kept."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, with the corpus and the seed. The defaults make some 1.5 million of them."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 384
    vocabulary: int = 4096
    """Tokens at most; a small corpus has fewer."""
    context: int = 128
    """Tokens of a block, and the most that the model takes."""
    batch: int = 32
    """Blocks of a step."""
    rate: float = 2e-3
    """Highest learning rate; it falls along a cosine to a tenth."""
    warm_up: float = 0.05
    """Share of the steps in which the rate rises."""
    decay: float = 0.1
    """Of the weights, but for those of normalisations."""


USUAL = Recipe()


@dataclass(frozen=True)
class Plan:
    """A training that is under way in a folder."""

    steps: int
    corpus: str
    """Identity of its text."""
    recipe: Recipe

    def checkpoints(self) -> list[int]:
        """0, 1, 2, 4, ... and the last step."""
        return [0, *(2**power for power in range(self.steps.bit_length()) if 2**power < self.steps), self.steps]

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 1."""
        rising = max(1, round(self.recipe.warm_up * self.steps))
        if step <= rising:
            return self.recipe.rate * step / rising
        fallen = (step - rising) / max(1, self.steps - rising)
        return self.recipe.rate * (0.1 + 0.45 * (1 + math.cos(math.pi * fallen)))
