"""Metrics of a measurement of confidence: the measures of every way of asking, and what deletion does."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from evals.confidence.measures import _aurc, _murphy_reliability, _over_items, _Table
from evals.confidence.reliability import BINS, PER_BIN, equal_width
from evals.confidence.results import ConfidenceItem, ConfidenceResults, ItemDeletion
from evals.metrics.metric import VOID, Better, Formula, Items, Key, Metric, averaged, mean_of, named, of_text
from evals.results import stored
from evals.scores import Floats, Masked, Statistic
from evals.statistics import mean

PARSED = "share_parsed"
DIFFERENCE = "difference"
"""Of deletion: how much more confidence falls without decisive words than without random ones."""
BETTER: Mapping[str, Better] = MappingProxyType(
    {
        "accuracy": "higher",
        "ece": "lower",
        "ece_equal_mass": "lower",
        "brier": "lower",
        "brier_reliability": "lower",
        "auroc": "higher",
        "aurc": "lower",
    }
)
"""The other measures describe, or move with the accuracy alone: finding wrong answers is harder where there are fewer."""
BIASED = frozenset({"ece", "ece_equal_mass", "brier_reliability"})


def metrics(results: ConfidenceResults, task: str = "") -> Iterator[Metric]:
    """A void row has its measures failed, and still a share of items with an answer and a confidence."""
    for row in results.rows:
        of = named(row.prompting, row.sampling, row.aggregate)
        for name, value in row.measures.items():
            yield Metric(task, name, of, VOID if row.void else value, row.n_failed, BETTER.get(name, ""))
        shares = stored({PARSED: mean([1.0] * row.n + [0.0] * row.n_failed)})
        yield Metric(task, PARSED, of, shares[PARSED], 0, "higher")
    found = results.deletion
    if found is not None:
        for name, value in found.figures.items():
            better: Better = "higher" if name == DIFFERENCE else ""
            yield Metric(task, name, named("deletion", found.prompting), VOID if found.void else value, found.n_failed, better)


def items(results: ConfidenceResults, lines: Sequence[ConfidenceItem], task: str = "") -> dict[Key, Items]:
    """Items by their text."""
    known: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    parsed: dict[str, list[tuple[str, float]]] = defaultdict(list)
    deleted: list[tuple[str, float]] = []
    seen: dict[str, int] = {}
    for line in lines:
        key = of_text(line.text, seen)
        for answer in line.answers:
            of = named(answer.prompting, answer.sampling, answer.aggregate)
            parsed[of].append((key, float(answer.failed is None)))
            if answer.confidence is not None and answer.correct is not None:
                known[of].append((key, answer.confidence, float(answer.correct)))
        if isinstance(line.deletion, ItemDeletion):
            deleted.append((key, float(np.mean(line.deletion.random)) - line.deletion.without))
    found = {(task, PARSED, of): averaged(shares) for of, shares in parsed.items()}
    for of, answers in known.items():
        keys = tuple(key for key, *_ in answers)
        values = np.array([pair for _, *pair in answers])
        found |= {(task, name, of): Items(keys, values, formula, name in BIASED) for name, formula in FORMULAS.items()}
    if results.deletion is not None:
        found[task, DIFFERENCE, named("deletion", results.deletion.prompting)] = averaged(deleted)
    return found


def _by_value(table_of: Callable[[Floats], _Table]) -> Formula:
    """A measure that is computed from items and correct items by value of confidence, as a formula of confidence and correct [item, 2]."""

    def formula(pairs: Floats) -> Statistic:
        values, value_of = np.unique(pairs[:, 0].round(9), return_inverse=True)
        return _over_items(table_of(values), value_of, pairs[:, 1] > 0, np.arange(len(pairs)))

    return formula


def _ece(values: Floats) -> _Table:
    bins = equal_width(values)
    starts = np.unique(bins, return_index=True)[1]

    def of(n: Floats, hits: Floats) -> Masked:
        return np.ma.masked_array(np.abs(np.add.reduceat(hits - n * values, starts, axis=1)).sum(axis=1) / n.sum(axis=1))

    return of


def _ece_equal_mass(values: Floats) -> _Table:
    """Bins by mean rank, as evals.confidence.reliability.equal_mass has them, anew for all weights."""

    def of(n: Floats, hits: Floats) -> Masked:
        total = n.sum(axis=1, keepdims=True)
        bins = np.clip(total // PER_BIN, 1, BINS)
        bin_of = np.floor((np.cumsum(n, axis=1) - n / 2) / total * bins)
        gaps = hits - n * values
        return np.ma.masked_array(sum(np.abs((gaps * (bin_of == bin)).sum(axis=1)) for bin in range(BINS + 1)) / total[:, 0])

    return of


def _auroc(_values: Floats) -> _Table:
    def of(n: Floats, hits: Floats) -> Masked:
        misses = n - hits
        won = (hits * (np.cumsum(misses, axis=1) - misses / 2)).sum(axis=1)
        contests = hits.sum(axis=1) * misses.sum(axis=1)
        return np.ma.masked_array(won / np.maximum(contests, 1), contests == 0)

    return of


FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        "accuracy": lambda pairs: mean_of(pairs[:, 1:]),
        "mean_confidence": lambda pairs: mean_of(pairs[:, :1]),
        "overconfidence": lambda pairs: mean_of(pairs[:, :1] - pairs[:, 1:]),
        "brier": lambda pairs: mean_of((pairs[:, :1] - pairs[:, 1:]) ** 2),
        "ece": _by_value(_ece),
        "ece_equal_mass": _by_value(_ece_equal_mass),
        "brier_reliability": _by_value(_murphy_reliability),
        "auroc": _by_value(_auroc),
        "aurc": _by_value(lambda _: _aurc),
    }
)
"""By measure (evals.confidence.measures): of confidence and correct [item, 2]."""
