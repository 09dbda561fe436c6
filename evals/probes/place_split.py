"""Which entities train a probe, which of these choose its layer, which test it; and folds of whole groups."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError

Indices = npt.NDArray[np.intp]
SHARE = 0.2
"""Of all entities that test, where the file does not say which, and of those that train the ones that choose the layer."""
LEAST_TRAIN, LEAST_TEST = 30, 10


@dataclass(frozen=True, eq=False)
class Split:
    """Numbers of entities, each ascending."""

    train: Indices
    choose: Indices
    """Of those that train, the ones held out while the layer is chosen."""
    test: Indices

    @property
    def fit(self) -> Indices:
        """What trains while the layer is chosen."""
        return np.setdiff1d(self.train, self.choose)


def split(test: Sequence[bool | None], seed: int) -> Split:
    """By what is known of each entity, or where nothing is, a drawn fifth tests. ExplicateError where either side is too small."""
    rng = np.random.default_rng([seed, 1])
    if all(each is None for each in test):
        tested = rng.permutation(len(test))[: round(SHARE * len(test))]
    else:
        tested = np.flatnonzero(np.array(test, bool))
    train = np.setdiff1d(np.arange(len(test)), tested)
    if len(train) < LEAST_TRAIN or len(tested) < LEAST_TEST:
        raise ExplicateError(
            f"{len(train)} entities to train a probe and {len(tested)} to test it are too few; it needs {LEAST_TRAIN} and {LEAST_TEST}: "
            "give a larger file or a larger --limit"
        )
    choose = rng.permutation(train)[: round(SHARE * len(train))]
    return Split(train, np.sort(choose), np.sort(tested))


def group_folds(groups: Sequence[str | None], folds: int | None, seed: int) -> Indices:
    """[entity] the fold in which its whole group is held out; -1 without a group. Large groups are dealt out first, to the smallest fold.

    folds: None for five, or as many as there are groups. Raises ExplicateError for fewer groups than folds, for a single fold, and where a
    fold leaves too few entities to train a probe on.
    """
    counts = Counter(group for group in groups if group is not None)
    wanted = min(5, len(counts)) if folds is None else folds
    if wanted < 2 or len(counts) < wanted:
        raise ExplicateError(
            f"{len(counts)} groups cannot be held out in {max(wanted, 2)} folds; name a column with more groups by --hold-out, or give "
            f"fewer --folds, two or more"
        )
    drawn = np.random.default_rng([seed, 2]).permutation(sorted(counts)).tolist()
    sizes, of = [0] * wanted, {}
    for group in sorted(drawn, key=lambda each: -counts[each]):
        fold = min(range(wanted), key=sizes.__getitem__)
        sizes[fold] += counts[group]
        of[group] = fold
    if sum(sizes) - max(sizes) < LEAST_TRAIN:
        raise ExplicateError(
            f"without the largest of {wanted} folds {sum(sizes) - max(sizes)} entities of other groups are left to train a probe; it needs "
            f"{LEAST_TRAIN}: name another column by --hold-out, or give more --folds, a larger file or a larger --limit"
        )
    return np.array([-1 if group is None else of[group] for group in groups], np.intp)
