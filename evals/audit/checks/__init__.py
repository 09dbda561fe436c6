"""Tests of explanations that are no ranking of words: each file is one, and asks the model more about its own explanations.

A check is made of the items of an audit. What it needs of a model's earlier replies it asks for again: equal requests are answered from
the reply cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.beliefs import Reader
from agents.llm import LLM
from agents.self_explanations import Asking, Order
from analyzers.folder import Folder
from analyzers.progress import Report, quiet
from analyzers.units import Units
from evals.audit.results import CheckResult

__all__ = ["CHECKS", "Check", "CheckResult", "Checked"]


@dataclass(frozen=True)
class Checked:
    """Whose explanations are checked, on what."""

    llm: LLM
    reader: Reader
    """How the model's belief is read."""
    asking: Asking
    items: Sequence[Units]
    orders: Sequence[Order]
    seed: int
    report: Report = quiet


class Check(Protocol):
    """One test."""

    async def __call__(self, checked: Checked) -> list[CheckResult]:
        """The results, one for each order where the order matters. Raises what the model raises (no access, a limit)."""


CHECKS: Folder[Check] = Folder("evals.audit.checks", "check")
