"""How influence is spread over passages, and how far it goes with another ranking of them; intervals are over passages."""

from collections.abc import Mapping, Sequence

import numpy as np

from analyzers.errors import Failed
from evals.results import Failure, Value, failure, stored
from evals.scores import Floats, Masked, Statistic
from evals.statistics import bootstrap

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Of the passages, those of most influence first."""


def held_by(influence: Floats, share: float) -> Statistic:
    """As a statistic over passages, the part of all positive influence that the most influential share of them holds.

    Where the share is no whole number of passages, the last one counts by the part that is wanted of it.
    """
    order = np.argsort(-influence, kind="stable")
    positive = np.maximum(influence[order], 0.0)

    def of(weights: Floats) -> Masked:
        there = weights[:, order]
        wanted = share * there.sum(axis=1, keepdims=True)
        taken = np.clip(wanted - (np.cumsum(there, axis=1) - there), 0.0, there)
        whole = there @ positive
        return np.ma.masked_array((taken @ positive) / np.where(whole > 0, whole, 1.0), whole <= 0)

    return of


def concentration(influence: Floats, *, seed: int = 0) -> dict[float, Value | Failure]:
    """By share of the passages, the part of the positive influence that they hold; spread evenly it would be the share itself."""
    found = bootstrap({str(share): held_by(influence, share) for share in SHARES}, len(influence), n=len(influence), seed=seed)
    return dict(zip(SHARES, stored(found).values(), strict=True))


def agreement(influence: Floats, others: Mapping[str, Floats | Failed], *, seed: int = 0) -> dict[str, Value | Failure]:
    """By name Spearman's correlation with each other ranking of the same passages."""
    found: dict[str, Value | Failure] = {}
    for name, other in others.items():
        if isinstance(other, Failed):
            found[name] = failure(other)
            continue
        of = {name: ranked(influence, other)}
        found |= stored(bootstrap(of, len(influence), n=len(influence), seed=seed))
    return found


def ranked(one: Floats, other: Floats) -> Statistic:
    """Spearman's correlation as a statistic over passages."""
    from analyzers.probes.geography import spearman

    def of(weights: Floats) -> Masked:
        return np.ma.masked_array(spearman(one[:, None], other[:, None], weights)[:, 0])

    return of


def unit(values: Floats) -> float:
    """Their root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def standardised(values: Sequence[float] | Floats) -> Floats:
    """In units of their root mean square, so that influences on two completions compare; all 0 where they are."""
    given = np.asarray(values, np.float64)
    size = unit(given)
    return given / size if size > 0 else given
