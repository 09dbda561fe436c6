"""How well a number for each class tells which class was chosen: the mean over classes of one-against-the-rest AUROC."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evals.scores import Floats, Masked, Statistic
from evals.statistics import auroc_over


def mean_auroc(values: Floats, chosen: npt.NDArray[np.int64], unit: Sequence[int]) -> Statistic:
    """A statistic over units: of each class how likely its number, as a share of the item's, is larger where it was chosen, ties half.

    values [item, class], at least 0; chosen [item] a class; unit [item], units in ascending order. An item whose numbers are all 0 has no
    shares and is left out. Undefined where no class is both chosen and not chosen.
    """
    index = np.unique(np.asarray(unit), return_inverse=True)[1]
    total = values.sum(1)
    some = total > 0
    shares, chosen, index = values[some] / total[some, None], chosen[some], index[some]
    classes = [auroc_over(shares[:, number], chosen == number, index) for number in range(values.shape[1])]

    def of(weights: Floats) -> Masked:
        return np.ma.masked_array(np.ma.stack([one(weights) for one in classes]).mean(axis=0))

    return of
