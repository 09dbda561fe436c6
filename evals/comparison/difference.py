"""How far a metric moved between two runs, how sure that is, and how often chance alone would move it as far.

Where both runs have the same items, these are paired: the difference is the statistic of the items in one run minus that of the same
items in the other, its interval a bootstrap of items, each drawn with its values in both. For p, nothing having changed, either run may
have had either values of an item: they are exchanged at random, item by item, which for a mean flips the signs of differences. Items of
runs that have few in common are drawn for each run on its own, and for p dealt out among the runs anew. Related as common items are, the
runs then differ less than what is dealt out: there are fewer alarms, not more.

Both tests hold for samples of any size and of few different values, which no normal approximation does. Where the parts of a metric are
not kept by item its two intervals are all there is: p is Welch's, with the standard errors that the intervals tell, taken for
independent; there is none with fewer than LEAST items or where an interval has no width.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from analyzers.errors import Failed
from evals.metrics.metric import Items, mean_of
from evals.results import Value
from evals.scores import Floats, Masked, Statistic
from evals.statistics import _CELLS, LEVEL, _value, _weights, permutation_p, sign_flip_p

LEAST = 20
"""Items that an interval must be of where it stands for a standard error."""
ALIKE = 0.5
"""Share of the larger run's items that both must have, for these to stand for all."""
_DECIMALS = 12
"""Of a difference: sums in another order are no change."""

_Draw = Callable[[np.random.Generator, int], tuple[Floats, Floats]]
"""So many times: how often each of all items [draw, item] counts before and after."""


@dataclass(frozen=True)
class Difference:
    """Of one metric."""

    value: Value | Failed
    """After minus before; n counts items, of the smaller run where they are not paired."""
    paired: bool
    p: Callable[[int], float | None]
    """Two-sided, from so many draws; None where there is no test."""


def difference(before: Value, after: Value, items_before: Items | None, items_after: Items | None, *, draws: int, seed: int) -> Difference:
    """Of a metric from its items in both runs, or from its intervals where these are not known."""
    if items_before is None or items_after is None:
        return _of_intervals(before, after)
    place = {key: at for at, key in enumerate(items_before.keys)}
    both = [(place[key], at) for at, key in enumerate(items_after.keys) if key in place]
    paired = len(both) >= max(2, ALIKE * max(len(items_before.keys), len(items_after.keys)))
    one, other = items_before.values, items_after.values
    if paired:
        one, other = one[[at for at, _ in both]], other[[at for _, at in both]]
    n, least = (len(one), len(other)), min(len(one), len(other))
    if least < 2:
        few = Failed("compare", f"a difference needs at least two items of each run; there are {n[0]} and {n[1]}")
        return Difference(few, paired, lambda _: None)
    statistic = items_after.formula(np.vstack([one, other]))
    observed = _differences(statistic, *_all(n))
    drawn = [part.compressed() for part in _many(statistic, _resampled(n, paired=paired), sum(n), draws, seed)]
    value = _value(observed, np.concatenate(drawn), draws, least, LEVEL)
    if items_after.biased and isinstance(value, Value):
        half = (value.high - value.low) / 2
        value = value.model_copy(update={"low": value.value - half, "high": value.value + half})

    def p(count: int) -> float | None:
        if isinstance(value, Failed):
            return None
        if paired and items_after.formula is mean_of:
            return sign_flip_p((other - one)[:, 0], two_sided=True, draws=count, seed=seed)
        # Where the statistic is undefined nothing contradicts chance.
        dealt = [np.abs(part.filled(np.inf)) for part in _many(statistic, _dealt(n, paired=paired), sum(n), count, seed)]
        return permutation_p(abs(value.value), np.concatenate(dealt))

    return Difference(value, paired, p)


def _differences(statistic: Statistic, before: Floats, after: Floats) -> Masked:
    return (statistic(after) - statistic(before)).round(_DECIMALS)


def _many(statistic: Statistic, draw: _Draw, items: int, count: int, seed: int) -> Iterator[Masked]:
    """Differences [draw], so many in all, in parts that fit into memory."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // items)
    for start in range(0, count, rows):
        yield _differences(statistic, *draw(rng, min(rows, count - start)))


def _all(n: tuple[int, int]) -> tuple[Floats, Floats]:
    before = np.repeat([[1.0, 0.0]], n, axis=1)
    return before, 1 - before


def _resampled(n: tuple[int, int], *, paired: bool) -> _Draw:
    def draw(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
        one = _weights(rng, rows, n[0])
        other = one if paired else _weights(rng, rows, n[1])
        return np.hstack([one, np.zeros((rows, n[1]))]), np.hstack([np.zeros((rows, n[0])), other])

    return draw


def _dealt(n: tuple[int, int], *, paired: bool) -> _Draw:
    def draw(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
        if paired:
            kept = rng.integers(2, size=(rows, n[0])).astype(np.float64)
            before = np.hstack([kept, 1 - kept])
        else:
            before = rng.permuted(np.tile(_all(n)[0], (rows, 1)), axis=1)
        return before, 1 - before

    return draw


def _of_intervals(before: Value, after: Value) -> Difference:
    from scipy.stats import t

    moved = after.value - before.value
    errors = [_standard_error(value) for value in (before, after)]
    if min(before.n, after.n) < LEAST or min(errors) <= 0:
        why = "the items behind it are not kept, and its intervals alone do not tell: they are of too few items, or have no width"
        return Difference(Failed("compare", why), False, lambda _: None)
    squares = [error**2 for error in errors]
    freedom = sum(squares) ** 2 / sum(square**2 / (value.n - 1) for square, value in zip(squares, (before, after), strict=True))
    error = sqrt(sum(squares))
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = float(2 * t.sf(abs(moved) / error, freedom))
    value = Value(value=moved, low=moved - half, high=moved + half, n=min(before.n, after.n))
    return Difference(value, False, lambda _: p)


def _standard_error(value: Value) -> float:
    """That of which the interval is, were it normal; a bootstrap's is somewhat narrow where items are few."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    return (value.high - value.low) / (2 * z) * sqrt(value.n / max(1, value.n - 1))
