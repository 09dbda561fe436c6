"""A number of a run, and the items that it is a statistic of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np

from evals.results import Failure, Value
from evals.scores import Floats, Statistic

Better = Literal["higher", "lower", ""]

Key = tuple[str, str, str]
"""Task, name, of."""

Formula = Callable[[Floats], Statistic]
"""Values [item, column] -> the statistic of these items, by weight."""

VOID = Failure(stage="void", reason="more than a fifth of the items, sites or replies failed")
"""In place of every figure of what is void."""


@dataclass(frozen=True)
class Metric:
    """One number of a run, or why there is none."""

    task: str
    """Name of the task in its suite; empty for a single run."""
    name: str
    """comprehensiveness, comprehensiveness_normalised, ece, pearson_null_contrast, lift, accuracy, ..."""
    of: str
    """What it is of: `self attribution predict-first delete`, `vanilla none stated`, ...; empty for the means of a label run."""
    value: Value | Failure
    n_failed: int
    """Items that should be in it and are not."""
    better: Better
    """Empty where neither direction is better: it never regresses."""

    @property
    def key(self) -> Key:
        """By which it is found in another run."""
        return self.task, self.name, self.of


@dataclass(frozen=True, eq=False)
class Items:
    """The items that a metric is of."""

    keys: tuple[str, ...]
    """[item] by which an item is found in another run; no two are alike."""
    values: Floats
    """[item, column] what the formula takes: one number, or confidence and whether the answer is correct."""
    formula: Formula
    biased: bool = False
    """Whether resampling shifts the statistic as a whole, as it does that of expected calibration error."""

    @property
    def value(self) -> float | None:
        """The statistic of all items; None where it is undefined."""
        found = self.formula(self.values)(np.ones((1, len(self.keys))))
        return None if np.ma.getmaskarray(found)[0] else float(found[0])


def mean_of(values: Floats) -> Statistic:
    """Formula of a mean of single numbers [item, 1]."""
    x = values[:, 0]
    return lambda weights: np.ma.masked_array(weights @ x / weights.sum(axis=1))


def averaged(found: Sequence[tuple[str, float]]) -> Items:
    """Items, each with its key, whose mean is the metric."""
    return Items(tuple(key for key, _ in found), np.array([value for _, value in found], np.float64).reshape(-1, 1), mean_of)


def of_text(text: str, seen: dict[str, int]) -> str:
    """Key of an item: a hash of its text, numbered where the text comes again; seen: how often each came before."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest} {seen[digest]}"


def named(*parts: str) -> str:
    """What a metric is of, from what tells it apart."""
    return " ".join(part for part in parts if part)
