"""Operators that take a unit of a text away; each file of this folder is one."""

from collections.abc import Callable, Sequence

import numpy as np

from analyzers.folder import Folder
from analyzers.units import Units

__all__ = ["OPERATORS", "Operator"]

Operator = Callable[[Units, int, Sequence[str], np.random.Generator], str | None]
"""What stands for a unit that is taken away, or None where nothing does: (the text's units, which of them, units to draw from, draws)."""

OPERATORS: Folder[Operator] = Folder("analyzers.perturbations", "operator")
