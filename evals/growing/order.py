"""In which order curves were acquired, and how far several trainings agree on it."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from analyzers.errors import Failed
from evals.growing.growth import NOT_GROWN
from evals.growing.results import Before, Series
from evals.growing.tally import Floats
from evals.results import Failure, Value, failure
from evals.scores import Masked
from evals.statistics import bootstrap

LEAST = 3
"""Curves that two trainings must both have acquired for their orders to be compared."""


def ranking(t90s: Mapping[str, Sequence[Value | Failure]]) -> list[str]:
    """Curves from the first acquired to the last by the mean of log2(1 + t90) over trainings; those that any did not acquire come last.

    t90s: by curve [training].
    """

    def key(name: str) -> tuple[int, float]:
        steps = [value.value for value in t90s[name] if isinstance(value, Value)]
        return len(t90s[name]) - len(steps), float(np.log2(1 + np.array(steps)).mean()) if steps else 0.0

    return sorted(t90s, key=key)


def order_of(series: Sequence[Series]) -> list[str]:
    """Curves of all trainings from the first acquired to the last."""
    names = dict.fromkeys(curve.name for each in series for curve in each.curves)
    missing = Failure(stage="score", reason="not measured in this training")

    def t90(each: Series, name: str) -> Value | Failure:
        curve = each.curve(name)
        return missing if curve is None else curve.summary["t90"]

    return ranking({name: [t90(each, name) for each in series] for name in names})


def before(series: Sequence[Series], probes: Sequence[str]) -> list[Before]:
    """Of every two probes which one was acquired before the other; none of two of which neither grew in any training."""
    found = []
    ranked = [name for name in order_of(series) if name in probes]
    for first, then in combinations(ranked, 2):
        seeds = apart = alone = 0
        for each in series:
            one, other = each.curve(first), each.curve(then)
            if one is None or other is None or not isinstance(mine := one.summary["t90"], Value):
                continue
            theirs = other.summary["t90"]
            if isinstance(theirs, Value):
                seeds, apart = seeds + (mine.value < theirs.value), apart + (mine.high < theirs.low)
            elif theirs.reason.startswith(NOT_GROWN):
                seeds, alone = seeds + 1, alone + 1
        if seeds:
            found.append(Before(first=first, then=then, seeds=seeds, apart=apart, alone=alone))
    return found


def agreement(orders: Sequence[Mapping[str, float]], *, seed: int = 0) -> Value | Failure:
    """Kendall's tau-b of the steps at which curves were acquired, averaged over pairs of trainings; interval over curves, n counts them.

    orders: of each training by curve. Only curves count that all of them acquired. Failure for a single training, for fewer than LEAST
    such curves, and where all are acquired at one step.
    """
    if len(orders) < 2:
        return Failure(
            stage="score", reason="Kendall's tau of the order compares trainings, and there is one; train with --seeds 2 or more"
        )
    shared = [name for name in orders[0] if all(name in order for order in orders)]
    if len(shared) < LEAST:
        return Failure(stage="score", reason=f"{len(shared)} curves grew in every training, and an order needs {LEAST} or more")
    signs = [np.sign(np.subtract.outer(steps, steps)) for steps in (np.array([order[name] for name in shared]) for order in orders)]

    def statistic(weights: Floats) -> Masked:
        found = [_tau(one, other, weights) for one, other in combinations(signs, 2)]
        return np.ma.masked_array(
            np.mean([each.filled(0.0) for each in found], axis=0), sum(np.ma.getmaskarray(each) for each in found) > 0
        )

    value = bootstrap({"tau": statistic}, len(shared), n=len(shared), seed=seed)["tau"]
    return failure(value) if isinstance(value, Failed) else value


def _tau(one: Floats, other: Floats, weights: Floats) -> Masked:
    """[draw] tau-b of pairs of curves with signs [curve, curve], each curve drawn so often; masked where all steps are one."""

    def summed(pairs: Floats) -> Floats:
        found: Floats = np.einsum("di,ij,dj->d", weights, pairs, weights)
        return found

    ties = summed(one**2) * summed(other**2)
    return np.ma.masked_array(summed(one * other) / np.sqrt(np.where(ties > 0, ties, 1.0)), ties <= 0)
