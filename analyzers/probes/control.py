"""The control task of Hewitt & Liang 2019 (arXiv 1909.03368): labels that say nothing but which word stands there.

Every word type gets a label at random and keeps it wherever it stands. A probe that does as well there has memorised words; its accuracy
on the task less that on the control is its selectivity. In the paper labels of types are independent draws from the distribution of the
task's labels; then the commonest control label may be far more common than the task's, if a frequent word has drawn it, and a probe of
noise would be selective or the contrary. Here each label goes to as many training rows as have it in the task, as nearly as whole types
allow.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from analyzers.probes.classifiers import Classes


def control_labels(types: Sequence[str], labels: Classes, training: Classes, *, classes: int, seed: int) -> Classes:
    """[row] the class of each row's type, the same in training and test.

    types [row]; labels [row] true classes, of which those at the rows `training` are given out to the types there, the commonest type
    first, each with the chance of what is left of the label, among labels of which enough is left. Other types draw from all labels.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels[training], minlength=classes)
    rows = Counter(types[row] for row in training.tolist())
    left, of = counts.astype(np.float64), dict[str, int]()
    for name in sorted(rows, key=lambda each: (-rows[each], each)):
        enough = np.where(left >= rows[name], left, 0)
        chances = enough if enough.any() else np.maximum(left, 0)
        of[name] = int(rng.choice(classes, p=chances / chances.sum()))
        left[of[name]] -= rows[name]
    others = sorted(set(types) - set(rows))
    of.update(zip(others, rng.choice(classes, size=len(others), p=counts / counts.sum()).tolist(), strict=True))
    return np.array([of[each] for each in types], np.int64)


def by_type(types: Sequence[str], labels: Classes, training: Classes) -> Classes:
    """[row] the commonest training class of the row's type, or of all rows where no training row has the type; ties: the lower class."""
    counts: dict[str, dict[int, int]] = {}
    whole: dict[int, int] = {}
    for row in training.tolist():
        own, label = counts.setdefault(types[row], {}), int(labels[row])
        own[label] = own.get(label, 0) + 1
        whole[label] = whole.get(label, 0) + 1
    return np.array([_commonest(counts.get(each, whole)) for each in types], np.int64)


def _commonest(counts: dict[int, int]) -> int:
    return min(counts, key=lambda label: (-counts[label], label))
