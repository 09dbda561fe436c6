"""How one curve grew: summaries of its values over steps, each with an interval over the units that were counted at every checkpoint.

A curve is a ratio at each checkpoint, of sums over the same units; so all its values, and whatever is made of them, are computed on the
same draws of units, and differences between checkpoints are paired. Steps are placed at log2(1 + step), at which log-spaced checkpoints
are about as far apart, step 0 among them. Curves that are better when lower are turned over first, so that growing is rising.

grown         final value less that of the first checkpoint
t90           step at which the curve first has 90 % of that, a straight line drawn between neighbouring checkpoints
area          mean height of the curve, in its own unit, over log2(1 + step) from the first checkpoint to the last (trapezoids)
monotonicity  Spearman correlation of value and step: 1 where every checkpoint is better than the one before it
forgetting    value of the best checkpoint less the final one: 0 where the final one is the best

The best of many checkpoints is partly the luckiest. The interval of forgetting therefore holds for all checkpoints together (Bonferroni):
it begins above 0 only where one of them is better than the final one beyond doubt.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.growing.tally import Floats, Tally
from evals.results import Failure, Value, failure
from evals.scores import Masked, Statistic
from evals.statistics import DRAWS, LEVEL, bootstrap

SUMMARIES = ("grown", "t90", "area", "monotonicity", "forgetting")
SHARE = 0.9
FORGETTING_DRAWS = 4000
"""More than of other intervals, since the ends of this one lie farther out: with some hundred checkpoints at the outermost draws."""
NOT_GROWN = "did not grow"
"""How the reason of a curve begins that has no t90."""

Summaries = dict[str, Value | Failure]
Bools = npt.NDArray[np.bool_]
_Curves = Callable[[Floats], tuple[Floats, Bools]]
"""Weights [draw, unit] -> (curve [draw, checkpoint], rising when it grows; [draw] whether every checkpoint has a unit in it)."""
_Summary = Callable[[Floats, Floats], Masked]
"""(steps [checkpoint], curve [draw, checkpoint]) -> [draw]"""


def place(steps: Sequence[int] | Floats) -> Floats:
    """[checkpoint] where steps stand: log2(1 + step)."""
    found: Floats = np.log2(1 + np.asarray(steps, np.float64))
    return found


def step_at(places: Floats) -> Floats:
    """Steps, not rounded, at such places."""
    found: Floats = np.exp2(places) - 1
    return found


def values(tallies: Sequence[Tally | Failed], *, seed: int = 0) -> list[Value | Failure]:
    """[checkpoint] each with its interval, all on the same draws; n is what `among` counts."""
    known = {str(at): tally for at, tally in enumerate(tallies) if isinstance(tally, Tally)}
    units = max((len(tally.of) for tally in known.values()), default=0)
    made = bootstrap({at: _value(tally) for at, tally in known.items()}, units, n=0, seed=seed)
    found: list[Value | Failure] = []
    for at, tally in enumerate(tallies):
        value = tally if isinstance(tally, Failed) else made[str(at)]
        counted = 0 if isinstance(tally, Failed) else round(float(tally.among.sum()))
        found.append(failure(value) if isinstance(value, Failed) else value.model_copy(update={"n": counted}))
    return found


def summaries(steps: Sequence[int], tallies: Sequence[Tally | Failed], *, seed: int = 0) -> Summaries:
    """By name, as above, over the checkpoints that could be measured; n counts units.

    Every one is a Failure where the first or the last checkpoint could not be measured, t90 where the final value does not lie above
    the first one, its paired interval taken into account.
    """
    failed = next((each for each in (tallies[0], tallies[-1]) if isinstance(each, Failed)), None)
    if failed is not None:
        which = "first" if isinstance(tallies[0], Failed) else "last"
        reason = f"the {which} checkpoint could not be measured: {failed.reason}"
        return {name: Failure(stage="score", reason=reason) for name in SUMMARIES}
    known = [(step, tally) for step, tally in zip(steps, tallies, strict=True) if isinstance(tally, Tally)]
    at = np.array([step for step, _ in known], np.float64)
    counted = [tally for _, tally in known]
    units = len(counted[0].of)
    n = int((np.stack([tally.among for tally in counted]).max(axis=0) > 0).sum())
    risen = _risen(counted)

    def over(of: _Summary) -> Statistic:
        def statistic(weights: Floats) -> Masked:
            curve, defined = risen(weights)
            made = of(at, curve)
            return np.ma.masked_array(made.data, np.ma.getmaskarray(made) | ~defined)

        return statistic

    plain = {"grown": over(grown), "t90": over(t90), "area": over(area), "monotonicity": over(monotonicity)}
    found = bootstrap(plain, units, n=n, draws=DRAWS, seed=seed)
    made: Summaries = {name: failure(value) if isinstance(value, Failed) else value for name, value in found.items()}
    gain = made["grown"]
    if isinstance(gain, Failure):
        made["t90"] = gain
    elif gain.low <= 0:
        made["t90"] = Failure(
            stage="score", reason=f"{NOT_GROWN}: final less first {gain.value:.3f}, interval {gain.low:.3f} to {gain.high:.3f}"
        )
    if counted[0].better == "lower":
        made["area"] = _turned(made["area"])
    made["forgetting"] = _forgetting(counted, n, seed)
    return {name: made[name] for name in SUMMARIES}


# ---- of curves [draw, checkpoint] at steps [checkpoint], rising when they grow


def grown(_at: Floats, curve: Floats) -> Masked:
    """[draw] final less first."""
    return np.ma.masked_array(curve[:, -1] - curve[:, 0])


def t90(at: Floats, curve: Floats) -> Masked:
    """[draw] step at which 90 % of the growth is first reached; masked where nothing grew."""
    first, last = curve[:, 0], curve[:, -1]
    wanted = first + SHARE * (last - first)
    reached = curve >= wanted[:, None]
    rows, to = np.arange(len(curve)), reached.argmax(axis=1)
    before = np.maximum(to - 1, 0)
    low, high = curve[rows, before], curve[rows, to]
    share = (wanted - low) / np.where(high > low, high - low, 1.0)
    places = place(at)
    found = step_at(places[before] + np.where(to > 0, share, 0.0) * (places[to] - places[before]))
    return np.ma.masked_array(found, last <= first)


def area(at: Floats, curve: Floats) -> Masked:
    """[draw] mean height over log2(1 + step)."""
    places = place(at)
    return np.ma.masked_array((curve[:, 1:] + curve[:, :-1]) @ np.diff(places) / 2 / (places[-1] - places[0]))


def monotonicity(at: Floats, curve: Floats) -> Masked:
    """[draw] Spearman correlation with the step; masked where the curve is level."""
    from scipy.stats import rankdata

    middle = (len(at) + 1) / 2
    ranks, order = rankdata(curve, axis=1) - middle, rankdata(at) - middle
    spread = np.sqrt((ranks**2).sum(axis=1) * (order**2).sum())
    return np.ma.masked_array(ranks @ order / np.where(spread > 0, spread, 1.0), spread == 0)


def _forgetting(counted: Sequence[Tally], n: int, seed: int) -> Value | Failure:
    """Of the best checkpoint, with an interval that holds for all of them together."""

    def less(one: Tally) -> Statistic:
        both = _risen([one, counted[-1]])

        def statistic(weights: Floats) -> Masked:
            curve, defined = both(weights)
            return np.ma.masked_array(curve[:, 0] - curve[:, 1], ~defined)

        return statistic

    others = counted[:-1]
    names = {str(at): less(one) for at, one in enumerate(others)}
    found = bootstrap(names, len(counted[-1].of), n=n, draws=FORGETTING_DRAWS, seed=seed, level=1 - (1 - LEVEL) / len(others))
    known = [value for value in found.values() if isinstance(value, Value)]
    if len(known) < len(found):
        return failure(next(value for value in found.values() if isinstance(value, Failed)))
    ends = {end: max(0.0, *(getattr(value, end) for value in known)) for end in ("value", "low", "high")}
    return Value(**ends, n=n)


def _turned(value: Value | Failure) -> Value | Failure:
    return value if isinstance(value, Failure) else Value(value=-value.value, low=-value.high, high=-value.low, n=value.n)


def _risen(tallies: Sequence[Tally]) -> _Curves:
    of, among = (np.stack([getattr(tally, name) for tally in tallies], axis=1) for name in ("of", "among"))
    sign = -1.0 if tallies[0].better == "lower" else 1.0

    def curves(weights: Floats) -> tuple[Floats, Bools]:
        whole = weights @ among
        return sign * (weights @ of) / np.where(whole > 0, whole, 1), (whole > 0).all(axis=1)

    return curves


def _value(tally: Tally) -> Statistic:
    """As it is, not turned over."""

    def statistic(weights: Floats) -> Masked:
        whole = weights @ tally.among
        return np.ma.masked_array((weights @ tally.of) / np.where(whole > 0, whole, 1), whole <= 0)

    return statistic
