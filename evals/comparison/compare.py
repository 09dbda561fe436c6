"""Two runs, metric by metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil
from pathlib import Path

from analyzers.errors import Failed, RunFolderError
from evals.comparison.difference import Difference, difference
from evals.comparison.provenance import provenance
from evals.comparison.results import Change, Comparison, MetricKey, Threshold, Verdict
from evals.metrics import Items, Key, Metric, items_of, kind_of, metrics_of
from evals.results import Failure, Value, failure
from evals.run_folder import read_json
from evals.statistics import benjamini_hochberg

ALPHA = 0.05
DRAWS = 2000
FINE = 4
"""How many times smaller than the strictest level of the family (alpha over its size) the smallest p can be."""
MOST_DRAWS = 20_000
"""However large the family is: one of a thousand metrics can then still be found at alpha .05, if not by many draws."""


@dataclass(frozen=True)
class _Pair:
    """One metric in both runs."""

    before: Metric
    after: Metric
    threshold: Threshold
    difference: Difference | None
    """None where there is not a number in both."""
    n: tuple[int, int]

    @property
    def watched(self) -> bool:
        return self.threshold.watch and self.after.better != ""


def compare(
    run: Path,
    baseline: Path,
    *,
    thresholds: Mapping[str, Threshold] | None = None,
    alpha: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Hold a run against its baseline, both run folders of one kind.

    thresholds: by name of a metric, or by a pattern of names such as `df_*`; a name goes before patterns, the first that fits before
    others. They and alpha are by default those of the suite that the run is of; other runs have none, and .05. A metric regresses where q
    < alpha, the interval of its difference lies on the worse side of 0, and the difference is at least its minimum effect. q is p after
    Benjamini-Hochberg over all watched metrics that could be tested: those that have a better direction, and that no threshold says not
    to watch. Where nothing changed the chance that any metric regresses is at most alpha. Raises RunFolderError where a folder is none or
    not whole, or the two are of different kinds.
    """
    kinds = kind_of(run), kind_of(baseline)
    if kinds[0] != kinds[1]:
        raise RunFolderError(f"{str(run)!r} is a run of {kinds[0]}, {str(baseline)!r} one of {kinds[1]}; compare two runs of one kind")
    stated = read_json(run / "results.json") if kinds[0] == "suite" else {}
    alpha = float(stated.get("alpha", ALPHA)) if alpha is None else alpha
    if thresholds is None:
        thresholds = {name: Threshold.model_validate(each) for name, each in stated.get("thresholds", {}).items()}
    before, after = ({metric.key: metric for metric in metrics_of(folder)} for folder in (baseline, run))
    items_before, items_after = items_of(baseline), items_of(run)
    return Comparison(
        run=str(run),
        baseline=str(baseline),
        suite=str(stated.get("name", "")),
        alpha=alpha,
        changes=changes(before, after, items_before, items_after, thresholds=thresholds, alpha=alpha, draws=draws, seed=seed),
        provenance=provenance(baseline, run, items_before, items_after),
        missing=[_named(key) for key in before if key not in after],
        new=[_named(key) for key in after if key not in before],
    )


def changes(
    before: Mapping[Key, Metric],
    after: Mapping[Key, Metric],
    items_before: Mapping[Key, Items],
    items_after: Mapping[Key, Items],
    *,
    thresholds: Mapping[str, Threshold],
    alpha: float,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Change]:
    """Of all metrics that both have, in the order of `after`; the rest as in `compare`."""
    pairs = [
        _pair(before[key], metric, items_before.get(key), items_after.get(key), _threshold(metric.name, thresholds), draws, seed)
        for key, metric in after.items()
        if key in before
    ]
    return [_change(pair, *tested, alpha) for pair, tested in zip(pairs, _q_values(pairs, alpha, draws), strict=True)]


def draws_for(family: int, alpha: float, least: int) -> int:
    """For tests of so many metrics: that a single one of them can be found."""
    return max(least, ceil(min(FINE * family / alpha, MOST_DRAWS)))


def _threshold(name: str, thresholds: Mapping[str, Threshold]) -> Threshold:
    if name in thresholds:
        return thresholds[name]
    return next((threshold for pattern, threshold in thresholds.items() if fnmatchcase(name, pattern)), Threshold())


def _pair(
    before: Metric, after: Metric, items_before: Items | None, items_after: Items | None, threshold: Threshold, draws: int, seed: int
) -> _Pair:
    found = None
    n = [metric.value.n if isinstance(metric.value, Value) else 0 for metric in (before, after)]
    if isinstance(before.value, Value) and isinstance(after.value, Value):
        found = difference(before.value, after.value, items_before, items_after, draws=draws, seed=seed)
    return _Pair(before, after, threshold, found, (n[0], n[1]))


def _q_values(pairs: list[_Pair], alpha: float, draws: int) -> list[tuple[float | None, float | None]]:
    """[pair] p and q, of those that are watched."""
    family = [pair.watched and pair.difference is not None for pair in pairs]
    count = draws_for(sum(family), alpha, draws)
    p = [pair.difference.p(count) if pair.watched and pair.difference is not None else None for pair in pairs]
    return list(zip(p, benjamini_hochberg(p), strict=True))


def _change(pair: _Pair, p: float | None, q: float | None, alpha: float) -> Change:
    before, after, found = pair.before.value, pair.after.value, pair.difference
    moved: Value | Failure
    if found is None:
        moved = next(value for value in (after, before) if isinstance(value, Failure))
    else:
        moved = failure(found.value) if isinstance(found.value, Failed) else found.value
    return Change(
        task=pair.after.task,
        name=pair.after.name,
        of=pair.after.of,
        better=pair.after.better,
        before=before,
        after=after,
        difference=moved,
        paired=found is not None and found.paired,
        n_before=pair.n[0],
        n_after=pair.n[1],
        p=p,
        q=q,
        verdict=_verdict(pair, moved, q, alpha),
        watched=pair.watched,
        minimum_effect=pair.threshold.minimum_effect,
    )


def _verdict(pair: _Pair, moved: Value | Failure, q: float | None, alpha: float) -> Verdict:
    if not pair.watched:
        return "not watched"
    failed = [isinstance(metric.value, Failure) for metric in (pair.before, pair.after)]
    if failed[0] != failed[1]:
        return "recovered" if failed[0] else "failed"
    if isinstance(moved, Failure) or q is None:
        return "not comparable"
    apart = moved.low > 0 or moved.high < 0
    if q >= alpha or not apart or abs(moved.value) < pair.threshold.minimum_effect:
        return "unchanged"
    return "improved" if (moved.low > 0) == (pair.after.better == "higher") else "regressed"


def _named(key: Key) -> MetricKey:
    task, name, of = key
    return MetricKey(task=task, name=name, of=of)
