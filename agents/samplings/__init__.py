"""How several replies are had to one question, so that one can see how they scatter; each file is one sampling strategy.

After Xiong et al. (ICLR 2024, arXiv 2306.13063), in our own words. `none` is their absence: one reply, at temperature 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from agents.confidences import Asked
from agents.llm import LLM, Chat, Reply
from agents.self_explanations import Asking
from analyzers.errors import Failed
from analyzers.folder import Folder
from prompts import Prompt

__all__ = ["NONE", "SAMPLINGS", "TEMPERATURE", "Sampled", "Sampling", "seed_of"]

NONE = "none"
TEMPERATURE = 0.7
"""Of what is drawn, as in the published scripts."""


@dataclass(frozen=True)
class Sampled:
    """An item that several replies are asked for."""

    text: str
    number: int
    suggested: tuple[str, ...]
    """Answers that a hint may suggest: the labels or, where answers are free, wrong ones."""
    seed: int
    """Of the run."""


class Sampling(Protocol):
    """One way to have several replies."""

    name: str
    prompts: tuple[Prompt, ...]

    def preparation(self, llm: LLM, asking: Asking, samples: int, seed: int) -> Sequence[Chat]:
        """What is asked of the model once a run, before anything else."""

    def askings(self, llm: LLM, asking: Asking, samples: int, replies: Sequence[Reply | Failed]) -> tuple[Asking, ...] | Failed:
        """[reply] how the question is put, from the replies to the preparation."""

    def asked(self, askings: Sequence[Asking], item: Sampled) -> list[Asked] | Failed:
        """[reply] what is asked about an item."""


SAMPLINGS: Folder[Sampling] = Folder("agents.samplings", "sampling strategy")


def seed_of(seed: int, number: int) -> int:
    """Of one of several replies: other runs' seeds give other replies, more replies the same ones first."""
    return int(np.random.default_rng([seed, number]).integers(2**31))


class AsItIs:
    """What those share that put the question as it is."""

    prompts: tuple[Prompt, ...] = ()

    def preparation(self, llm: LLM, asking: Asking, samples: int, seed: int) -> Sequence[Chat]:  # noqa: ARG002
        """Nothing."""
        return ()

    def askings(
        self,
        llm: LLM,  # noqa: ARG002
        asking: Asking,
        samples: int,
        replies: Sequence[Reply | Failed],  # noqa: ARG002
    ) -> tuple[Asking, ...] | Failed:
        """The same for every reply."""
        return (asking,) * samples
