"""Simulators predict a site's activations on excerpts from an explanation alone; each file of this folder is one."""

from collections.abc import Sequence
from typing import Protocol

from agents.explanation import Scale, Simulation
from agents.registry import Registry
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

__all__ = ["SIMULATORS", "Simulator"]


class Simulator(Protocol):
    """Predicts activations from words."""

    @property
    def name(self) -> str:
        """With its language model where it has one: `all-at-once(local:qwen2.5-coder-0.5b)`."""

    @property
    def prompt(self) -> str:
        """Hash of its prompt file; empty where it asks no language model."""

    @property
    def scale(self) -> Scale:
        """Unit of what it predicts."""

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One outcome an excerpt, in order; it sees their tokens, never their activations. An empty string is the null explanation."""


SIMULATORS: Registry[Simulator] = Registry("agents.simulators", "simulator")
"""`SIMULATORS.pick(llm)` is the best simulator that a language model can serve, `SIMULATORS.create(name, llm)` a named one."""
