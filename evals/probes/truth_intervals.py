"""Figures of statements of several topics: the mean over topics, with intervals over statements that are drawn within their topics.

A difference of means of scores between topics is no knowledge of truth, so statements of different topics are never ranked together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from analyzers.errors import Failed
from evals.probes.results import Lift
from evals.results import Value
from evals.scores import Floats, Indices, Masked, Statistic
from evals.statistics import _CELLS, DRAWS, LEVEL, _value, _weights, auroc_over, permutation_p

Flags = npt.NDArray[np.bool_]
EXCHANGES = 999


@dataclass(frozen=True, eq=False)
class Sample:
    """Statements with their topics; the same draws serve every figure, so that differences are paired."""

    topic: Indices
    """[statement] number of its topic."""
    true: Flags
    """[statement]"""
    seed: int = 0
    draws: int = DRAWS

    def __len__(self) -> int:
        return len(self.true)

    def of(self, kept: Flags) -> "Sample":
        """Only these [statement]; their draws are others where some of a topic are left out."""
        return replace(self, topic=self.topic[kept], true=self.true[kept])

    def auroc(self, scores: Floats) -> Value | Failed:
        """Chance that a true statement has a higher score [statement] than a false one of its topic, ties half; mean over topics."""
        return self._mean(lambda own: auroc_over(scores[own], self.true[own], np.arange(len(own))), scores)

    def rate(self, values: Floats | Flags) -> Value | Failed:
        """Mean of values [statement] in a topic, mean over topics."""
        values = np.asarray(values, np.float64)
        return self._mean(lambda own: lambda weights: np.ma.masked_array((weights @ values[own]) / weights.sum(1)), values)

    def accuracy(self, scores: Floats, threshold: float | Floats = 0.0) -> Value | Failed:
        """Share of statements that lie on the right side of a threshold; a score right at it says false."""
        return self.rate((scores > threshold) == self.true)

    def lift(self, scores: Floats, other: Floats) -> Lift | Failed:
        """AUROC of scores less that of others [statement], paired, with the p-value of exchanging both ranks of a statement within its
        topic, (1+#)/(1+M), one-sided."""

        def difference(own: Indices) -> Statistic:
            one, two = (auroc_over(each[own], self.true[own], np.arange(len(own))) for each in (scores, other))
            return lambda weights: one(weights) - two(weights)

        found = self._mean(difference, scores + other)
        if isinstance(found, Failed):
            return found
        observed, exchanged = 0.0, np.zeros(EXCHANGES)
        for number, own in self._topics():
            ranks = np.stack([rankdata(each[own]) for each in (scores, other)])
            true = self.true[own]
            observed += float(_auroc(ranks[:1], true)[0] - _auroc(ranks[1:], true)[0])
            rng = np.random.default_rng([self.seed, number, 1])
            rows = max(1, _CELLS // len(own))
            for start in range(0, EXCHANGES, rows):
                swap = rng.random((min(rows, EXCHANGES - start), len(own))) < 0.5
                first, second = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
                exchanged[start : start + rows] += _auroc(first, true) - _auroc(second, true)
        return Lift(**found.model_dump(), p=permutation_p(observed, exchanged))

    def plain_auroc(self, scores: Floats) -> float:
        """As `auroc`, without an interval."""
        return float(np.mean([_auroc(scores[own][None], self.true[own])[0] for _, own in self._topics()]))

    def plain_rate(self, values: Floats | Flags) -> float:
        """As `rate`, without an interval."""
        return float(np.mean([np.mean(values[own]) for _, own in self._topics()]))

    def _topics(self) -> Iterator[tuple[int, Indices]]:
        for number in np.unique(self.topic).tolist():
            yield number, np.flatnonzero(self.topic == number)

    def _mean(self, statistic: Callable[[Indices], Statistic], values: Floats) -> Value | Failed:
        """Mean over topics of a statistic of a topic's statements, which are its units."""
        if not len(self):
            return Failed("score", "no statements")
        if not np.isfinite(values).all():
            return Failed("score", "some scores are not finite")
        whole: list[Masked] = []
        drawn: list[Masked] = []
        for number, own in self._topics():
            if len(own) < 2:
                return Failed("score", "a topic has a single statement, which no interval can be drawn from")
            of, weights = statistic(own), _drawn(self.seed, number, self.draws, len(own))
            rows = max(1, _CELLS // len(own))
            parts = [of(weights[start : start + rows].astype(np.float64)) for start in range(0, self.draws, rows)]
            whole.append(of(np.ones((1, len(own)))))
            drawn.append(np.ma.hstack(parts))
        # A mean over topics is undefined where one topic's figure is.
        together = [
            np.ma.masked_array(np.ma.getdata(each).mean(0), np.ma.getmaskarray(each).any(0)) for each in map(np.ma.stack, (whole, drawn))
        ]
        return _value(together[0], together[1].compressed(), self.draws, len(self), LEVEL)


@lru_cache(maxsize=64)
def _drawn(seed: int, number: int, draws: int, size: int) -> npt.NDArray[np.uint8]:
    """[draw, statement] how often each statement of a topic of this size was drawn; a count beyond 255 does not occur."""
    rng, rows = np.random.default_rng([seed, number]), max(1, _CELLS // size)
    found = np.empty((draws, size), np.uint8)
    for start in range(0, draws, rows):
        found[start : start + rows] = _weights(rng, min(rows, draws - start), size)
    return found


def _auroc(scores: Floats, true: Flags) -> Floats:
    """[draw] of scores [draw, statement], by ranks (Mann-Whitney)."""
    ranks = rankdata(scores, axis=1)
    ups = int(true.sum())
    return np.asarray((ranks[:, true].sum(1) - ups * (ups + 1) / 2) / max(ups * (len(true) - ups), 1))
