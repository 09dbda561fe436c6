"""What scores of passages are worth where the truth is known: each measure of given scores, by method, beside the first one's lift."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.influence.baselines import Floats, known, places
from evals.influence.evaluate_results import Measure
from evals.influence.measures import ranked
from evals.influence.prefilter import SHARES, kept
from evals.results import Failure, Value, failure, stored
from evals.scores import Masked, Statistic
from evals.statistics import auroc_over, bootstrap, mean

Scores = Mapping[str, Floats | Failed]
"""By method, the one that is held against all others first."""
RECALL = (1, 5, 10)
TOP = 10
"""Of a full scan, of which a pre-filter is to keep as much as it can."""


def compared(values: Scores, *, over: str, chance: float | None, seed: int = 0) -> Measure:
    """The mean of every method [unit], and how far the first lies above each."""
    right = known(values)
    first = next(iter(values))
    ours = right.get(first)
    lifts = {} if ours is None else {name: mean(ours - each, seed=seed) for name, each in right.items() if name != first}
    figures = {name: mean(each, seed=seed) for name, each in right.items()}
    return Measure(figures=_with_failed(figures, values), lifts=_with_failed(lifts, _held_against(values)), over=over, chance=chance)


def recall(scores: Scores, answers: Sequence[int], *, seed: int = 0) -> dict[str, Measure]:
    """By name `recall_at_<k>` the share of queries [query, passage] whose answer is among the first k; equal scores share their places."""

    def at(rows: Floats | Failed) -> Floats | Failed:
        return rows if isinstance(rows, Failed) else np.array([places(row)[answer] for row, answer in zip(rows, answers, strict=True)])

    reached = {name: at(rows) for name, rows in scores.items()}
    many = next(iter(known(scores).values())).shape[1]
    return {
        f"recall_at_{k}": compared(
            {name: each if isinstance(each, Failed) else (each <= k).astype(np.float64) for name, each in reached.items()},
            over="queries",
            chance=min(1.0, k / many),
            seed=seed,
        )
        for k in RECALL
    }


def datamodelling(scores: Scores, halves: npt.NDArray[np.bool_], said: Floats, *, seed: int = 0) -> Measure:
    """Linear datamodelling score: over trainings, Spearman's correlation of a query's log-probability with the summed influence of the
    passages that were trained on; its mean over queries. Queries share the trainings, so that intervals draw both.

    scores [query, passage]; halves [training, passage]; said [training, query]. Source: Park et al. 2023 (TRAK).
    """
    trainings, queries = said.shape

    def of(rows: Floats) -> Statistic:
        expected = halves.astype(np.float64) @ rows.T
        each = [ranked(expected[:, at], said[:, at]) for at in range(queries)]

        def statistic(weights: Floats) -> Masked:
            # Sums that are all equal rank nothing, which is worth what chance is.
            found = np.stack([one(weights[:, :trainings]).filled(0.0) for one in each], axis=1)
            asked = weights[:, trainings:]
            return np.ma.masked_array((asked * found).sum(1) / np.maximum(asked.sum(1), 1), asked.sum(1) == 0)

        return statistic

    statistics = {name: of(rows) for name, rows in known(scores).items()}
    return _drawn_together(statistics, scores, trainings + queries, n=queries, over="queries and trainings", chance=0.0, seed=seed)


def mislabelled(influence: Scores, exchanged: Sequence[bool], *, seed: int = 0) -> Measure:
    """AUROC of a line's influence [line] on the label that it says, against whether that was exchanged: what the rest of the text speaks
    against is learnt from the line alone."""
    wrong, index = np.array(exchanged), np.arange(len(exchanged))
    statistics = {name: auroc_over(each, wrong, index) for name, each in known(influence).items()}
    return _drawn_together(statistics, influence, len(index), n=len(index), over="lines", chance=0.5, seed=seed)


def apart(scores: Scores, inside: Scores, names: tuple[str, str], *, seed: int = 0) -> Measure:
    """How much more one passage of every pair moves its query than the other does.

    scores [query, 2 x pair]: of every pair first the one, then the other; inside [query, passage] gives the unit, the root mean square over
    the passages of the text. names: `<method>_<name>` are the two parts.
    """
    figures: dict[str, Value | Failed] = {}
    parts: dict[str, Value | Failed] = {}
    for name, each in scores.items():
        text = inside[name]
        if isinstance(each, Failed) or isinstance(text, Failed):
            figures[name] = next(one for one in (each, text) if isinstance(one, Failed))
            continue
        size = np.sqrt((text**2).mean(axis=1))
        one, other = (half / np.where(size > 0, size, 1.0) for half in _halves(each))
        figures[name] = mean(one - other, seed=seed)
        parts |= {f"{name}_{names[0]}": mean(one, seed=seed), f"{name}_{names[1]}": mean(other, seed=seed)}
    return Measure(figures=stored({**figures, **parts}), lifts={}, over="pairs", chance=0.0)


def preferred(scores: Scores, *, seed: int = 0) -> Measure:
    """Share of pairs of which the one passage moves its query more than the other does, equal ones half; `other_queries`: by the first
    method, the mean share of the other queries that it moves more, which says nothing of the query. scores as in `apart`."""
    found: dict[str, Floats | Failed] = {}
    for name, each in scores.items():
        found[name] = each if isinstance(each, Failed) else _more(*_halves(each))
    first = next(iter(scores.values()))
    if not isinstance(first, Failed) and len(first) > 1:
        found["other_queries"] = other_queries(first)
    return compared(found, over="pairs", chance=0.5, seed=seed)


def other_queries(scores: Floats) -> Floats:
    """[pair] share of the other queries that the one passage moves more than the other does; scores as in `apart`, of one method."""
    found: Floats = np.diag(of_others(_more(*np.split(scores, 2, axis=1))))
    return found


def of_others(values: Floats) -> Floats:
    """[query, column] mean over all other queries."""
    found: Floats = (values.sum(axis=0) - values) / (len(values) - 1)
    return found


def prefilter_recall(influence: Floats, near: Floats, *, seed: int = 0) -> Measure:
    """Share of the passages at the top of a full scan that a pre-filter by TF-IDF leaves, by the share of all passages that it leaves; both
    [query, passage]."""
    top = np.argsort(-influence, axis=1, kind="stable")[:, :TOP].tolist()
    each = [kept(mine, row) for mine, row in zip(top, near, strict=True)]
    figures = {f"{share:g}": mean([float(np.mean(found[share])) for found in each], seed=seed) for share in SHARES}
    return Measure(figures=stored(figures), lifts={}, over="queries")


def _halves(scores: Floats) -> tuple[Floats, Floats]:
    """([pair], [pair]) of the query and both passages of the same pair."""
    pairs = np.arange(len(scores))
    return scores[pairs, pairs], scores[pairs, len(scores) + pairs]


def _more(one: Floats, other: Floats) -> Floats:
    found: Floats = (one > other) + 0.5 * (one == other)
    return found


def _drawn_together(
    statistics: Mapping[str, Statistic], given: Scores, units: int, *, n: int, over: str, chance: float, seed: int
) -> Measure:
    """Every method's statistic, and what the first one's lies above each, all on the same draws of the units."""
    first = next(iter(given))

    def less(other: Statistic) -> Statistic:
        return lambda weights: statistics[first](weights) - other(weights)

    lifts = {name: less(other) for name, other in statistics.items() if name != first and first in statistics}
    return Measure(
        figures=_with_failed(bootstrap(statistics, units, n=n, seed=seed), given),
        lifts=_with_failed(bootstrap(lifts, units, n=n, seed=seed), _held_against(given)),
        over=over,
        chance=chance,
    )


def _held_against(given: Scores) -> Scores:
    """All but the first; where that failed, what it lies above them failed alike."""
    (_, first), *others = given.items()
    return {name: first if isinstance(first, Failed) else each for name, each in others}


def _with_failed(found: Mapping[str, Value | Failed], given: Scores) -> dict[str, Value | Failure]:
    """In the order that was given, with the methods that failed before."""
    failed = {name: failure(each) for name, each in given.items() if isinstance(each, Failed)}
    every = {**stored(found), **failed}
    return {name: every[name] for name in given if name in every}
