"""Puts another unit for the unit, drawn at random from those it is given: the text stays one of the kind that the model sees."""

from collections.abc import Sequence

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.perturbations import OPERATORS
from analyzers.units import Units


@OPERATORS.add("replace")
def replace(units: Units, unit: int, others: Sequence[str], rng: np.random.Generator) -> str | None:
    """Another unit in its place; raises ExplicateError where there is none."""
    text = units.texts[unit]
    different = [other for other in others if other.casefold() != text.casefold()]
    if not different:
        raise ExplicateError("the operator 'replace' has no other unit to put in its place; give a longer text, or choose delete or mask")
    return different[int(rng.integers(len(different)))]
