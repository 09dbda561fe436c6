"""Leave one unit out: v(all) - v(all but the unit)."""

from collections.abc import Mapping, Sequence

import numpy as np

from analyzers.attributions import METHODS, Floats, Kept


@METHODS.add("occlusion")
class Occlusion:
    """Needs one set more than there are units, whatever it may ask for."""

    def __init__(self, units: int, most: int, rng: np.random.Generator) -> None:  # noqa: ARG002
        self._all = frozenset(range(units))

    @property
    def sets(self) -> Sequence[Kept]:
        return [self._all, *(self._all - {unit} for unit in sorted(self._all))]

    def values(self, of: Mapping[Kept, float]) -> Floats:
        return np.array([of[self._all] - of[self._all - {unit}] for unit in sorted(self._all)])

    def errors(self, of: Mapping[Kept, float]) -> Floats | None:  # noqa: ARG002
        return None
