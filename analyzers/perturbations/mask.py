"""Puts a mask for the unit: the text keeps its length, and says that something is missing."""

from collections.abc import Sequence

import numpy as np

from analyzers.perturbations import OPERATORS
from analyzers.units import Units

MASK = "[REDACTED]"
"""As in Madsen et al. 2024 (arXiv 2401.07927)."""


@OPERATORS.add("mask")
def mask(units: Units, unit: int, others: Sequence[str], rng: np.random.Generator) -> str | None:  # noqa: ARG001
    """The mask in its place."""
    return MASK
