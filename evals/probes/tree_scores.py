"""The measures of trees over many sentences, with intervals over sentences, and how far they lie above a baseline's.

UUAS is of all edges together; the correlations are averaged over the sentences of each length, and these means over the lengths that
occur, as in Hewitt and Manning 2019 (N19-1419): a sentence counts the more the rarer its length is, also in every draw of the bootstrap.
"""

from collections.abc import Mapping

import numpy as np

from analyzers.errors import Failed
from analyzers.probes.tree_measures import TreeScores
from analyzers.probes.trees import Bools, Doubles, Ints
from evals.probes.results import Lift, Metrics
from evals.results import Failure, Value, failure
from evals.scores import Statistic
from evals.statistics import bootstrap, sign_flip_p

MEASURES = ("uuas", "uuas_apart", "dspr", "nspr", "root")


def metrics(scores: TreeScores, *, seed: int = 0) -> Metrics:
    """By name, over the same draws of sentences; n counts edges for UUAS, sentences for the others.

    Sentences without a measure (of another length, all predictions the same) are not counted for it.
    """
    counted = {
        "uuas": scores.edges.sum(),
        "uuas_apart": scores.apart.sum(),
        "dspr": scores.dspr_counts.sum(),
        "nspr": scores.nspr_counts.sum(),
        "root": len(scores.root),
    }
    return {name: _value(of, int(counted[name]), scores, seed) for name, of in statistics(scores).items()}


def _value(of: Statistic, n: int, scores: TreeScores, seed: int) -> Value | Failure:
    if not n:
        return Failure(stage="score", reason="no sentence has what it counts: edges, or some of 5 to 50 words whose predictions differ")
    value = bootstrap({"value": of}, len(scores.length), n=n, seed=seed)["value"]
    return failure(value) if isinstance(value, Failed) else value


def statistics(scores: TreeScores) -> Mapping[str, Statistic]:
    """Each measure as a statistic over sentences."""
    return {
        "uuas": _share(scores.correct, scores.edges),
        "uuas_apart": _share(scores.apart_correct, scores.apart),
        "dspr": _over_lengths(scores.dspr, scores.dspr_counts, scores.length),
        "nspr": _over_lengths(scores.nspr, scores.nspr_counts, scores.length),
        "root": _share(scores.root, np.ones(len(scores.root))),
    }


def _share(of: Doubles, among: Doubles) -> Statistic:
    """Sum of one over the sum of the other; both [sentence]."""

    def statistic(weights: Doubles) -> "np.ma.MaskedArray[tuple[int, ...], np.dtype[np.float64]]":
        total = weights @ among
        return np.ma.masked_array((weights @ of) / np.where(total > 0, total, 1), total == 0)

    return statistic


def _over_lengths(values: Doubles, counts: Bools, length: Ints) -> Statistic:
    """Mean over lengths of the mean over the sentences of that length, of those that count."""
    lengths = np.unique(length[counts])
    member = (length[:, None] == lengths) & counts[:, None]
    weighed = np.where(member, values[:, None], 0.0)

    def statistic(weights: Doubles) -> "np.ma.MaskedArray[tuple[int, ...], np.dtype[np.float64]]":
        many = weights @ member.astype(np.float64)
        there = many > 0
        means = (weights @ weighed) / np.where(there, many, 1)
        return np.ma.masked_array((means * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1), ~there.any(axis=1))

    return statistic


def uuas_lift(scores: TreeScores, baseline: TreeScores, *, seed: int = 0) -> Lift | Failure:
    """UUAS less that of a baseline on the same sentences: interval over sentences, p-value by exchanging both within sentences."""
    gained = scores.correct - baseline.correct
    found = bootstrap({"uuas": _share(gained, scores.edges)}, len(gained), n=int(scores.edges.sum()), seed=seed)["uuas"]
    if isinstance(found, Failed):
        return failure(found)
    return Lift(**found.model_dump(), p=sign_flip_p(gained, two_sided=False, seed=seed))
