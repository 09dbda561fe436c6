"""What several statistics of one bootstrap ask for, computed once for each block of resamples."""

from collections.abc import Callable

import numpy as np

from evals.scores import Floats, Masked


class Kept:
    """Of weights [draw, unit] what a function makes of them, kept until other weights come."""

    def __init__(self, of: Callable[[Floats], Masked]) -> None:
        self._of = of
        self._weights: Floats | None = None
        self._found: Masked = np.ma.masked_array(np.zeros(0))

    def __call__(self, weights: Floats) -> Masked:
        if self._weights is not weights:
            self._weights, self._found = weights, self._of(weights)
        return self._found
