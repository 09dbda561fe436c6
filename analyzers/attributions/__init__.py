"""How much each unit of a text does to a value, from the values of the text with sets of units kept; each file is one method.

A method first plans the sets it needs, so that the sets of several methods are evaluated together and each once, and then turns
their values into one number a unit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analyzers.folder import Folder
from analyzers.units import Kept

__all__ = ["METHODS", "RESAMPLES", "Floats", "Kept", "Method", "Plan", "all_fit"]

Floats = npt.NDArray[np.float64]


class Plan(Protocol):
    """A method at work on one text."""

    @property
    def sets(self) -> Sequence[Kept]:
        """What is to be evaluated; sets may repeat."""

    def values(self, of: Mapping[Kept, float]) -> Floats:
        """[unit] from the values of all sets of the plan."""

    def errors(self, of: Mapping[Kept, float]) -> Floats | None:
        """[unit] standard errors from the sampling of sets; None where nothing is sampled."""


Method = Callable[[int, int, np.random.Generator], Plan]
"""Plans for (number of units, most sets that it may ask for, draws)."""

RESAMPLES = 200
"""Bootstrap draws behind a standard error."""

METHODS: Folder[Method] = Folder("analyzers.attributions", "method")


def all_fit(units: int, most: int) -> bool:
    """Whether what draws sets of units takes all of them in their place: no more than it may ask for, or than it needs at least anyway."""
    return units < 2 or 2**units <= max(most, 4 * units + 2)
