"""Activations as small whole numbers, which language models can read and write."""

import numpy as np
import numpy.typing as npt

from analyzers.evidence import FloatArray


def levels(activations: FloatArray, peak: float, *, top: int) -> npt.NDArray[np.int64]:
    """[token] min(top, floor(10 a / peak)): what is below a tenth of the peak is level 0; all 0 where the peak is 0.

    Source: Bills et al. 2023, with top = 10; top = 9 keeps every level a single digit.
    """
    if peak <= 0:
        return np.zeros(len(activations), dtype=np.int64)
    # In double precision, so that a tenth of the peak, and the peak itself, land on their own level.
    return np.minimum(np.floor(10 * activations.astype(np.float64) / peak + 1e-9), top).astype(np.int64)
