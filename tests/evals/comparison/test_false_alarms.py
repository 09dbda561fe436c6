"""How often a suite of which nothing changed raises an alarm, over simulated comparisons, and that real changes do."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy import stats

from evals.comparison.compare import changes
from evals.comparison.results import Change
from evals.metrics.confidence import BIASED, FORMULAS
from evals.metrics.metric import Better, Items, Key, Metric, averaged
from evals.results import Value
from evals.scores import Floats
from evals.statistics import mean

ALPHA = 0.05
SUITES = 500
N = 30
DRAWS = 99

Run = tuple[dict[Key, Metric], dict[Key, Items]]


def as_run(values: Mapping[str, tuple[Floats, str]], keys: list[str]) -> Run:
    """values: by name of a metric, [item] or [item, confidence and correct], and how it is made of them: mean, interval, or a measure."""
    metrics, items = {}, {}
    for name, (x, how) in values.items():
        better: Better = "lower" if how in BIASED else "higher"
        value = mean(x, draws=199) if how == "interval" else Value(value=0.0, low=0.0, high=0.0, n=len(x))
        if not isinstance(value, Value):
            continue
        metrics["", name, ""] = Metric("", name, "", value, 0, better)
        if how == "mean":
            items["", name, ""] = averaged(list(zip(keys, x.tolist(), strict=True)))
        elif how != "interval":
            items["", name, ""] = Items(tuple(keys), x, FORMULAS[how], how in BIASED)
    return metrics, items


def of_items(rng: np.random.Generator, difficulty: Floats) -> dict[str, tuple[Floats, str]]:
    """One run of a model on items of this difficulty [item], 0 to 1: metrics that hang together, of few and of many different values."""
    n = len(difficulty)
    right = rng.random(n) > difficulty
    sure = np.round(np.clip(1 - difficulty / 2 + rng.normal(0, 0.15, n), 0, 1) * 20) / 20
    pairs = np.column_stack([sure, right])
    faithful = np.clip(rng.exponential(0.2, n) - 0.3 * difficulty, -1, 1)
    return {
        "accuracy": (right.astype(float), "mean"),
        "rare": ((rng.random(n) < 0.04).astype(float), "mean"),
        "comprehensiveness": (faithful, "mean"),
        "aopc": (faithful * 1.1, "mean"),
        "skewed": (rng.exponential(1, n) ** 3, "mean"),
        "ece": (pairs, "ece"),
        "auroc": (pairs, "auroc"),
        "normalised": (faithful + rng.normal(0, 0.2, n), "interval"),
    }


def compared(before: Run, after: Run, seed: int) -> list[Change]:
    return changes(before[0], after[0], before[1], after[1], thresholds={}, alpha=ALPHA, draws=DRAWS, seed=seed)


def alarms(simulate: Callable[[np.random.Generator], tuple[Run, Run]]) -> tuple[int, int]:
    """Of SUITES comparisons, those with any metric that moved, and those with one that got worse."""
    moved = worse = 0
    for seed in range(SUITES):
        rng = np.random.default_rng([17, seed])
        verdicts = {change.verdict for change in compared(*simulate(rng), seed)}
        assert "unchanged" in verdicts
        moved += bool(verdicts & {"regressed", "improved"})
        worse += "regressed" in verdicts
    return moved, worse


def test_the_same_replies_raise_no_alarm_at_all() -> None:
    def again(rng: np.random.Generator) -> tuple[Run, Run]:
        run = as_run(of_items(rng, rng.random(N)), [str(at) for at in range(N)])
        return run, run

    for seed in range(20):
        found = compared(*again(np.random.default_rng(seed)), seed)
        assert {change.verdict for change in found} <= {"unchanged", "not comparable"}
        assert all(change.q in (1.0, None) for change in found)


@pytest.mark.parametrize("shared", [N, 0, N // 4], ids=["the same items", "other items", "a quarter of the items"])
def test_alarms_of_unchanged_models_stay_at_the_stated_rate(shared: int) -> None:
    """Two runs of one model, with noise of their own, on items of which so many are the same."""

    def two(rng: np.random.Generator) -> tuple[Run, Run]:
        difficulty = rng.beta(1, 2, N)
        other = np.concatenate([difficulty[:shared], rng.beta(1, 2, N - shared)])
        keys = [str(at) for at in range(N)]
        new = [*keys[:shared], *(f"new {at}" for at in range(N - shared))]
        return as_run(of_items(rng, difficulty), keys), as_run(of_items(rng, other), new)

    moved, worse = alarms(two)
    # What a binomial of the stated rate goes beyond once in a thousand tries.
    assert moved <= stats.binom.ppf(0.999, SUITES, ALPHA)
    assert worse <= stats.binom.ppf(0.999, SUITES, ALPHA)


def test_single_tests_would_raise_many_more_alarms() -> None:
    """The simulation can tell: without adjusting for the number of metrics far more of the suites raise an alarm."""
    alarmed = 0
    for seed in range(200):
        rng = np.random.default_rng([18, seed])
        difficulty, keys = rng.beta(1, 2, N), [str(at) for at in range(N)]
        runs = [as_run(of_items(rng, difficulty), keys) for _ in range(2)]
        alarmed += any(change.p is not None and change.p < ALPHA for change in compared(runs[0], runs[1], seed))
    assert alarmed > 2.5 * ALPHA * 200


def test_a_planted_drop_is_found_and_nothing_else() -> None:
    found, others = 0, 0
    for seed in range(60):
        rng = np.random.default_rng([19, seed])
        difficulty, keys = rng.beta(1, 2, N), [str(at) for at in range(N)]
        before, after = of_items(rng, difficulty), of_items(rng, difficulty)
        after["comprehensiveness"] = (before["comprehensiveness"][0] - np.abs(rng.normal(0.1, 0.05, N)), "mean")
        verdicts = {change.name: change.verdict for change in compared(as_run(before, keys), as_run(after, keys), seed)}
        found += verdicts.pop("comprehensiveness") == "regressed"
        others += "regressed" in verdicts.values()
    assert found >= 57
    assert others <= stats.binom.ppf(0.999, 60, ALPHA)


def test_a_worse_model_is_found_by_what_it_gets_wrong() -> None:
    """Right answers fall from about 67 to about 30 of 100: by accuracy, paired and unpaired, and never the other way round."""
    found = dict.fromkeys(("paired", "unpaired"), 0)
    for seed in range(60):
        rng = np.random.default_rng([20, seed])
        difficulty = rng.beta(1, 2, 60)
        keys, new = [str(at) for at in range(60)], [f"new {at}" for at in range(60)]
        before, after = of_items(rng, difficulty), of_items(rng, np.minimum(difficulty + 0.4, 1))
        for how, of in (("paired", keys), ("unpaired", new)):
            (accuracy,) = (c for c in compared(as_run(before, keys), as_run(after, of), seed) if c.name == "accuracy")
            assert accuracy.verdict != "improved"
            assert accuracy.paired == (how == "paired")
            found[how] += accuracy.verdict == "regressed"
    assert min(found.values()) >= 48
