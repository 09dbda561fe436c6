"""How sure a number is: bootstrap over what was sampled, permutation tests, families of tests.

Intervals are percentile intervals of the cluster bootstrap: whole units (documents, sites, planted neurons) are drawn with replacement,
because tokens of one document are not independent. The same seed and number of units give the same draws, and what is compared is
computed on the same draws, so the interval of a difference is paired. They are somewhat narrow when units are few: in simulations the
95 % interval of a correlation covered 90 to 93 % with 5 to 60 documents, that of a skewed mean 78, 87, 91 and 95 % with 5, 10, 30 and
60 items.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.results import Lift, Value
from evals.scores import SCORES, Floats, Indices, Masked, Pairs, ScoreName, Statistic, correlation, problem, score, statistic

DRAWS = 1000
LEVEL = 0.95
DEGENERATE = 0.1
"""Largest share of draws in which a statistic may be undefined; beyond it the interval would describe only the draws that worked."""

_CELLS = 1_000_000

Name = TypeVar("Name", bound=str)


def bootstrap(
    statistics: Mapping[Name, Statistic], units: int, *, n: int, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> dict[Name, Value | Failed]:
    """Each statistic with its percentile interval, all on the same draws of `units` units with replacement; `n` is what Value.n says.

    Draws in which a statistic is undefined are dropped for it; Failed if more than DEGENERATE of them are, if it is undefined on the
    sample itself, or if there are fewer than two units.
    """
    if units < 2:
        reason = f"an interval needs at least two units (documents, sites); there are {units}"
        return {name: Failed("score", reason) for name in statistics}
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // units)
    drawn: dict[Name, list[Floats]] = {name: [] for name in statistics}
    for start in range(0, draws, rows):
        weights = _weights(rng, min(rows, draws - start), units)
        for name, of in statistics.items():
            drawn[name].append(of(weights).compressed())
    whole = np.ones((1, units))
    return {name: _value(of(whole), np.concatenate(drawn[name]), draws, n, level) for name, of in statistics.items()}


def scores(pairs: Pairs, names: Sequence[ScoreName] = SCORES, *, draws: int = DRAWS, seed: int = 0) -> dict[ScoreName, Value | Failed]:
    """The named scores with their intervals over documents; n counts tokens."""
    failed = {name: problem(name, pairs) for name in names}
    fine = {name: statistic(name, pairs) for name in names if failed[name] is None}
    values = bootstrap(fine, pairs.documents, n=pairs.n, draws=draws, seed=seed)
    return {name: failed[name] or values[name] for name in names}


def lift(
    name: ScoreName, pairs: Pairs, controls: Mapping[str, Pairs], *, called: str | None = None, draws: int = DRAWS, seed: int = 0
) -> Lift | Failed:
    """Score minus that of the best control, on the tokens that both predict, with a paired interval over documents.

    A control that cannot be scored is passed over; Failed if none can. `called` is the score's name where it is not `name`
    (pearson_null_contrast).
    """
    failed = problem(name, pairs)
    if failed is not None:
        return failed
    both = {}
    for key, control in controls.items():
        if not np.array_equal(pairs.truth, control.truth):
            raise ValueError(f"control {key!r} is not of the same excerpts")
        mine, theirs = _common(pairs, control)
        value = score(name, theirs)
        if isinstance(value, float) and problem(name, mine) is None:
            both[key] = (value, mine, theirs)
    if not both:
        return Failed("score", f"none of the controls {', '.join(controls) or '(none given)'} could be scored")
    over = max(both, key=lambda key: both[key][0])
    _, mine, theirs = both[over]
    of, of_control = statistic(name, mine), statistic(name, theirs)
    value_of = bootstrap({name: lambda w: of(w) - of_control(w)}, pairs.documents, n=mine.n, draws=draws, seed=seed)[name]
    return value_of if isinstance(value_of, Failed) else Lift(**value_of.model_dump(), over=over, score=called or name)


def mean(values: Sequence[float] | Floats, unit: Sequence[Hashable] | None = None, *, draws: int = DRAWS, seed: int = 0) -> Value | Failed:
    """Mean over items with its interval; items with an equal `unit` are drawn together, by default each is its own. n counts items."""
    x = np.asarray(values, np.float64)
    if not x.size or not np.isfinite(x).all():
        return Failed("score", "no items" if not x.size else "some items are not finite")
    index, units = _units(len(x), unit)
    total, count = np.bincount(index, x, units), np.bincount(index, minlength=units).astype(np.float64)
    return bootstrap({"mean": lambda w: np.ma.masked_array((w @ total) / (w @ count))}, units, n=len(x), draws=draws, seed=seed)["mean"]


def auroc(
    values: Sequence[float] | Floats,
    positive: Sequence[bool] | npt.NDArray[np.bool_],
    unit: Sequence[Hashable] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Value | Failed:
    """Chance that a random positive item has the higher value, ties counting half, with its interval over units. n counts items."""
    x, label = np.asarray(values, np.float64), np.asarray(positive, np.bool_)
    if not np.isfinite(x).all():
        return Failed("score", "some values are not finite")
    if label.all() or not label.any():
        return Failed("score", f"an AUROC needs positive and negative items; {int(label.sum())} of {len(label)} are positive")
    index, units = _units(len(x), unit)
    return bootstrap({"auroc": auroc_over(x, label, index)}, units, n=len(x), draws=draws, seed=seed)["auroc"]


def auroc_over(values: Floats, positive: npt.NDArray[np.bool_], index: Indices) -> Statistic:
    """The AUROC as a statistic over units, undefined where only positive or only negative items weigh; index [item] its unit's place."""
    if not len(values):
        return lambda weights: np.ma.masked_array(np.zeros(len(weights)), np.ones(len(weights), np.bool_))
    order = np.argsort(values, kind="stable")
    starts = np.unique(values[order], return_index=True)[1]
    index, positive = index[order], positive[order]

    def of(weights: Floats) -> Masked:
        items = weights[:, index]
        up = np.add.reduceat(items * positive, starts, axis=1)
        down = np.add.reduceat(items * ~positive, starts, axis=1)
        won = (up * (np.cumsum(down, axis=1) - down / 2)).sum(axis=1)
        contests = up.sum(axis=1) * down.sum(axis=1)
        return np.ma.masked_array(won / np.maximum(contests, 1), contests == 0)

    return of


def not_excluded(items: int, *, level: float = LEVEL) -> float:
    """Least true share that so many items leave possible which all had it: resampling them varies nothing (Clopper and Pearson 1934)."""
    return float(((1 - level) / 2) ** (1 / items))


def permutation_p(observed: float, permuted: Sequence[float] | Floats) -> float:
    """(1 + # permuted values at least as large) / (1 + # permuted values): one-sided, never 0."""
    values = np.asarray(permuted, np.float64)
    return float((1 + np.count_nonzero(values >= observed - 1e-12)) / (1 + values.size))


def sign_flip_p(x: Sequence[float] | Floats, *, two_sided: bool, draws: int = 999, seed: int = 0) -> float:
    """p-value of a mean of differences [item], (1+#)/(1+M), where either sign of each is as likely if nothing is behind them.

    One-sided, it is small where the differences lie above 0. Raises ValueError where there are none.
    """
    values = np.asarray(x, np.float64)
    if not values.size:
        raise ValueError("no differences whose signs could be exchanged")
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // len(values))
    signs = (rng.choice([-1.0, 1.0], size=(min(rows, draws - start), len(values))) for start in range(0, draws, rows))
    observed, flipped = float(values.mean()), np.concatenate([some @ values / len(values) for some in signs])
    return permutation_p(abs(observed), np.abs(flipped)) if two_sided else permutation_p(observed, flipped)


def exchange_p(pairs: Pairs, *, draws: int = 999, seed: int = 0) -> float | Failed:
    """p-value of Pearson's correlation over one excerpt a document, its first, when whole simulations are exchanged among them.

    Excerpts of one document are alike and cannot be exchanged like others, so only one of them takes part. What a simulation knows only
    of positions within an excerpt survives the exchange and earns nothing. Failed where the score is, over these excerpts, and where
    they are fewer than two.
    """
    first = np.unique(pairs.document, return_index=True)[1]
    if len(first) < 2:
        return Failed("score", f"nothing can be exchanged among excerpts of {len(first)} documents")
    number = np.full(len(pairs.document), -1)
    number[first] = np.arange(len(first))
    tokens = number[pairs.excerpt] >= 0
    few = replace(
        pairs,
        truth=pairs.truth[tokens],
        prediction=pairs.prediction[tokens],
        present=pairs.present[tokens],
        excerpt=number[pairs.excerpt[tokens]],
        document=np.arange(len(first)),
    )
    observed = score("pearson", few)
    if isinstance(observed, Failed):
        return observed
    excerpts = len(first)
    place = np.arange(len(few.excerpt)) - np.searchsorted(few.excerpt, few.excerpt)

    def table(values: npt.NDArray[np.bool_] | Floats) -> Floats:
        out = np.zeros((excerpts, int(place.max()) + 1))
        out[few.excerpt, place] = values
        return out

    t = few.truth / (np.abs(few.truth).max())
    p = np.where(few.present, few.prediction, 0.0)
    p /= np.abs(p).max()
    t, p = t - t.mean(), np.where(few.present, p - p[few.present].mean(), 0.0)
    here, has, T, P = table(np.ones_like(few.present)), table(few.present), table(t), table(p)
    # [sum, excerpt whose truth, excerpt whose prediction]: every exchange only adds up cells of these tables
    sums = np.stack([here @ has.T, T @ has.T, here @ P.T, T**2 @ has.T, here @ (P**2).T, T @ P.T])
    exchanged = np.random.default_rng(seed).permuted(np.tile(np.arange(excerpts), (draws, 1)), axis=1)
    permuted = correlation(sums[:, np.arange(excerpts), exchanged].sum(axis=2))
    return permutation_p(observed, permuted.filled(np.inf))


def luck(beaten: float, opponents: Sequence[int]) -> float:
    """Chance that items which know nothing beat at least so many of their opponents, each ranked against its own number of them.

    Exact: without knowledge every rank among k opponents is equally likely, so an item beats 0, 1, ..., or k of them with equal
    chance. Ties count half in `beaten`.
    """
    chances = np.ones(1)
    for k in opponents:
        chances = np.convolve(chances, np.full(k + 1, 1 / (k + 1)))
    return min(1.0, float(chances[np.arange(len(chances)) >= beaten - 1e-9].sum()))


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values (false discovery rate) over the family; None, a test that could not be made, stays None and is not counted."""
    from scipy.stats import false_discovery_control

    known = [p for p in p_values if p is not None]
    adjusted = iter(false_discovery_control(known).tolist() if known else ())
    return [None if p is None else next(adjusted) for p in p_values]


def _weights(rng: np.random.Generator, draws: int, units: int) -> Floats:
    """[draw, unit] how often each unit was drawn."""
    drawn = rng.integers(units, size=(draws, units)) + units * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units).astype(np.float64)


def _value(whole: Masked, drawn: Floats, draws: int, n: int, level: float) -> Value | Failed:
    if np.ma.getmaskarray(whole).any():
        return Failed("score", "undefined on these items")
    lost = draws - drawn.size
    if lost > DEGENERATE * draws:
        return Failed(
            "score",
            f"undefined in {lost} of {draws} resamples: what varies is in too few units for an interval around {float(whole[0]):.2f}",
        )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Value(value=float(whole[0]), low=float(low), high=float(high), n=n)


def _units(items: int, unit: Sequence[Hashable] | None) -> tuple[Indices, int]:
    if unit is None:
        return np.arange(items), items
    if len(unit) != items:
        raise ValueError(f"{items} items but {len(unit)} units")
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in unit], np.intp), len(seen)


def _common(a: Pairs, b: Pairs) -> tuple[Pairs, Pairs]:
    present = a.present & b.present
    return replace(a, present=present), replace(b, present=present)
