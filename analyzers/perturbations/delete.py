"""Leaves the unit out. The text gets shorter, and may become one that nobody would write."""

from collections.abc import Sequence

import numpy as np

from analyzers.perturbations import OPERATORS
from analyzers.units import Units


@OPERATORS.add("delete")
def delete(units: Units, unit: int, others: Sequence[str], rng: np.random.Generator) -> str | None:  # noqa: ARG001
    """Nothing in its place."""
    return None
