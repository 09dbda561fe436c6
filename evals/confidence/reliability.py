"""The rows of a reliability diagram: how often answers are right, beside the confidence that was stated in them.

Equal-width bins are ten tenths of 0..1, each with its lower edge and without its upper one, but for the last, which has both: 0.9 and 1
are in one bin. netcal, which the paper on stated confidence (Xiong et al., ICLR 2024, arXiv 2306.13063) computes with, has the same bins,
except that rounding there puts 0.3, 0.6 and 0.7, which are edges, one bin lower. Equal-mass bins have about equally many items. Models
state few different values (multiples of 5 %), and items of one value are always in one bin.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from evals.results import Value, _Model
from evals.scores import Floats, Indices
from evals.statistics import LEVEL

BINS = 10
PER_BIN = 5
"""Equal-mass bins have at least so many items on average: fewer items have fewer bins."""

_DECIMALS = 9


class Bin(_Model):
    """Items of like confidence; bins without items are left out."""

    lower: float
    upper: float
    """The bin's edges; of an equal-mass bin the least and the greatest confidence in it."""
    mean_confidence: float
    accuracy: Value
    """Share of correct answers with its 95 % Wilson interval, which takes items to be independent. n counts items."""


class Stated(_Model):
    """A value that was stated as confidence."""

    confidence: float
    n: int
    n_correct: int


class Reliability(_Model):
    """A reliability diagram and the histogram below it, each in ascending order of confidence."""

    equal_width: list[Bin]
    equal_mass: list[Bin]
    histogram: list[Stated]
    """Every value that was stated."""


def reliability(confidence: Sequence[float] | Floats, correct: Sequence[bool] | npt.NDArray[np.bool_]) -> Reliability:
    """For items' stated confidence [item], 0 to 1, and whether their answers are correct [item].

    ValueError where confidence is not in 0..1 or there is not one of each for every item. Without items all three lists are empty.
    """
    x, right = items(confidence, correct)
    if not x.size:
        return Reliability(equal_width=[], equal_mass=[], histogram=[])
    values, index, n = np.unique(x, return_inverse=True, return_counts=True)
    n_correct = np.bincount(index, right, len(values)).astype(np.float64)
    wide, massed = equal_width(values), equal_mass(n)
    return Reliability(
        equal_width=[
            _bin(values, n, n_correct, wide == number, (number / BINS, (number + 1) / BINS)) for number in np.unique(wide).tolist()
        ],
        equal_mass=[_bin(values, n, n_correct, massed == number) for number in np.unique(massed).tolist()],
        histogram=[
            Stated(confidence=value, n=many, n_correct=int(hits))
            for value, many, hits in zip(values.tolist(), n.tolist(), n_correct, strict=True)
        ],
    )


def items(confidence: Sequence[float] | Floats, correct: Sequence[bool] | npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Confidence [item], rounded to 9 decimals so that 0.1 + 0.2 and 0.3 are one value, and correct [item].

    ValueError where confidence is not in 0..1 or there is not one of each for every item.
    """
    x, right = np.asarray(confidence, np.float64).round(_DECIMALS), np.asarray(correct, np.bool_)
    if x.ndim != 1 or x.shape != right.shape:
        raise ValueError(f"confidence {x.shape} and correct {right.shape} are not of the same items")
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("confidence must lie in 0..1")
    return x, right


def equal_width(values: Floats) -> Indices:
    """[value] number of the bin of equal width; values are distinct and ascending."""
    # Not by edges such as np.linspace's, of which 0.3 falls short; times ten every tenth is exactly its number.
    return np.minimum(np.floor(values * BINS), BINS - 1).astype(np.intp)


def equal_mass(n: npt.NDArray[np.integer]) -> Indices:
    """[value] number of the bin of equal mass, by the mean rank of the value's items; n [value] counts items in ascending order of value.

    A number that no value has is skipped: values that many items share leave fewer bins.
    """
    total = int(n.sum())
    bins = min(BINS, max(1, total // PER_BIN))
    return np.floor((np.cumsum(n) - n / 2) / total * bins).astype(np.intp)


def wilson(successes: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Of none or all the exact interval reaches 0 or 1, which rounding may miss.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _bin(
    values: Floats,
    n: npt.NDArray[np.integer],
    n_correct: Floats,
    inside: npt.NDArray[np.bool_],
    edges: tuple[float, float] | None = None,
) -> Bin:
    count, hits = int(n[inside].sum()), float(n_correct[inside].sum())
    lower, upper = edges or (float(values[inside][0]), float(values[inside][-1]))
    low, high = wilson(hits, count)
    return Bin(
        lower=lower,
        upper=upper,
        mean_confidence=float(values[inside] @ n[inside]) / count,
        accuracy=Value(value=hits / count, low=low, high=high, n=count),
    )
