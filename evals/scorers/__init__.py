"""Scorers say how well an explanation fits its site on excerpts that nobody was shown; each file of this folder is one.

A scorer judges several explanations of one site together, item by item (an excerpt, a token, a pair). What it answers is kept as it is,
and evals.scoring.measures makes numbers of it: with intervals over documents, beside what knowing nothing gives.
"""

from collections.abc import Sequence
from typing import Protocol

from agents.registry import Registry
from analyzers.errors import Failed
from evals.scoring.judged import Judged, Measure, Role
from evals.scoring.material import Material

__all__ = ["SCORERS", "Scorer"]


class Scorer(Protocol):
    """Judges explanations."""

    @property
    def name(self) -> str:
        """With its language model where it has one: `detection(local:qwen2.5-coder-0.5b)`."""

    @property
    def prompt(self) -> str:
        """Hash of its prompt file; empty where it asks no language model."""

    @property
    def measure(self) -> Measure:
        """The measure that counts, larger for a better explanation."""

    @property
    def chance(self) -> float | None:
        """What an explanation that knows nothing gets in that measure; None where that depends on the model."""

    @property
    def role(self) -> Role:
        """How it judges, which decides what it may be part of."""

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """One outcome an explanation, in order; an empty explanation is the null one."""


SCORERS: Registry[Scorer] = Registry("evals.scorers", "scorer")
"""`SCORERS.create(name, llm)` is a named scorer."""
