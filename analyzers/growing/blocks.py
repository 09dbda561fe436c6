"""A corpus as one run of tokens, and the blocks of it that train a model and those that do not."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

HELD_OUT = 0.05
"""Share of the blocks, the last ones, whose loss is told and that nothing is trained on."""
MOST_HELD_OUT = 64
"""Blocks whose loss is told."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The corpus as one run of tokens."""

    tokens: npt.NDArray[np.int32]
    context: int

    @property
    def end(self) -> int:
        """Where the held-out tokens begin: of a short text so late that one block of it is left to train on."""
        held = max(1, round(HELD_OUT * (len(self.tokens) // (self.context + 1))))
        return max(len(self.tokens) - held * (self.context + 1), self.context + 1)

    def drawn(self, seed: int, step: int, count: int) -> Tensor:
        """[block, context + 1] of a step, from anywhere in what trains."""
        starts = np.random.default_rng([seed, step]).integers(self.end - self.context, size=count)
        return self._at(starts)

    def held_out(self) -> Tensor:
        """[block, context + 1] one after the other."""
        starts = np.arange(self.end, len(self.tokens) - self.context, self.context + 1)[:MOST_HELD_OUT]
        return self._at(starts)

    def _at(self, starts: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.tokens[starts[:, None] + np.arange(self.context + 1)].astype(np.int64))
