"""Puts a unit of another text for the unit, drawn at random: the text stays one of the kind that the model sees."""

from collections.abc import Sequence

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.perturbations import OPERATORS
from analyzers.units import Units


@OPERATORS.add("replace")
def replace(units: Units, unit: int, others: Sequence[str], rng: np.random.Generator) -> str | None:
    """Another unit in its place; raises ExplicateError where no other text has one."""
    text = units.texts[unit]
    different = [other for other in others if other.casefold() != text.casefold()]
    if not different:
        raise ExplicateError("the operator 'replace' draws from other texts, and there are none; give more items, or choose delete or mask")
    return different[int(rng.integers(len(different)))]
