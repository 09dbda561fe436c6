"""Explainers say in words what a site responds to, from excerpts with its activations; each file of this folder is one."""

from collections.abc import Sequence
from typing import Protocol

from agents.explanation import Explanation
from agents.registry import Registry
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

__all__ = ["EXPLAINERS", "Explainer"]


class Explainer(Protocol):
    """Writes explanations."""

    @property
    def name(self) -> str:
        """With its language model where it has one: `marked-text(local:qwen2.5-coder-1.5b)`."""

    @property
    def prompt(self) -> str:
        """Hash of its prompt file; empty where it asks no language model."""

    async def explain(self, excerpts: Sequence[Excerpt], *, candidates: int, seed: int) -> list[Explanation | Failed]:
        """Up to `candidates` different explanations of one site, the greedy one first; a candidate that came to nothing is a Failed."""


EXPLAINERS: Registry[Explainer] = Registry("agents.explainers", "explainer")
"""`EXPLAINERS.create(name, llm)` is a named explainer; `template` needs no language model."""
