"""Puts another unit for the unit, drawn at random from those it is given: the text stays one of the kind that the model sees."""

from collections.abc import Sequence

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.perturbations import OPERATORS
from analyzers.units import Units

TRIES = 32
"""Draws before those units are listed that are different."""


@OPERATORS.add("replace")
def replace(units: Units, unit: int, others: Sequence[str], rng: np.random.Generator) -> str | None:
    """Another unit in its place, each of the others that is not the same but for its case as likely as it is frequent among them.

    Raises ExplicateError where there is none.
    """
    text = units.texts[unit].casefold()
    # Drawn again where it is the same: to list what is different takes as long as there are others, for every unit of every text.
    for at in rng.integers(len(others), size=TRIES) if others else ():
        other = others[int(at)]
        if other.casefold() != text:
            return other
    different = [other for other in others if other.casefold() != text]
    if not different:
        raise ExplicateError("the operator 'replace' has no other unit to put in its place; give a longer text, or choose delete or mask")
    return different[int(rng.integers(len(different)))]
