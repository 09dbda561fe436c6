"""Against scikit-learn, naive loops and all orders of ties; intervals against naive resampling and planted models."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from analyzers.errors import Failed
from evals.confidence.measures import MEASURES, chance, measure
from evals.results import Value

some_of_both = st.tuples(
    st.lists(st.integers(0, 20), min_size=4, max_size=15),
    st.lists(st.integers(0, 20), min_size=4, max_size=15),
)
"""Confidence in twentieths of correct and of incorrect answers: enough of both that hardly a resample lacks one."""


def values(confidence: Sequence[float] | Any, correct: Sequence[bool] | Any, **how: Any) -> dict[str, float]:
    found = measure(confidence, correct, **{"seed": 0, "draws": 60, **how})
    return {name: value.value for name, value in found.items() if not isinstance(value, Failed)}


def value(found: dict[str, Value | Failed], name: str) -> Value:
    of = found[name]
    assert isinstance(of, Value), of
    return of


def both(twentieths: tuple[list[int], list[int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    correct, wrong = twentieths
    return np.array(correct + wrong) / 20, np.array([True] * len(correct) + [False] * len(wrong))


def selective_risks(correct_in_order: Sequence[bool]) -> float:
    """Mean over k of the share of wrong answers among the first k."""
    return float(np.mean([1 - np.mean(correct_in_order[:k]) for k in range(1, len(correct_in_order) + 1)]))


@settings(deadline=None, max_examples=60)
@given(some_of_both)
def test_as_scikit_learn_and_naive_loops(twentieths: tuple[list[int], list[int]]) -> None:
    x, right = both(twentieths)
    found = values(x, right)
    assert list(found) == list(MEASURES)
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["mean_confidence"] == pytest.approx(x.mean())
    assert found["overconfidence"] == pytest.approx(x.mean() - right.mean())
    assert found["brier"] == pytest.approx(brier_score_loss(right, x))
    assert found["auroc"] == pytest.approx(roc_auc_score(right, x))
    assert found["auprc_positive"] == pytest.approx(average_precision_score(right, x))
    assert found["auprc_negative"] == pytest.approx(average_precision_score(~right, np.round(1 - x, 6)))
    stated = Counter(twentieths[0] + twentieths[1])
    assert found["modal_share"] == pytest.approx(max(stated.values()) / len(x))
    assert found["distinct_values"] == len(stated)
    # Two twentieths a bin, and 20 belongs to the last.
    bins: dict[int, list[float]] = {}
    for twentieth, hit in zip(twentieths[0] + twentieths[1], right, strict=True):
        bins.setdefault(min(twentieth // 2, 9), []).append(hit - twentieth / 20)
    assert found["ece"] == pytest.approx(sum(abs(sum(gaps)) for gaps in bins.values()) / len(x))


@settings(deadline=None, max_examples=60)
@given(some_of_both)
def test_the_decomposition_of_brier_is_exact(twentieths: tuple[list[int], list[int]]) -> None:
    x, right = both(twentieths)
    found = values(x, right)
    reliability = resolution = 0.0
    for stated in set(x.tolist()):
        rate = right[x == stated].mean()
        reliability += (x == stated).mean() * (stated - rate) ** 2
        resolution += (x == stated).mean() * (rate - right.mean()) ** 2
    assert found["brier_reliability"] == pytest.approx(reliability)
    assert found["brier_resolution"] == pytest.approx(resolution)
    assert found["brier_uncertainty"] == pytest.approx(right.var())
    assert found["brier"] == pytest.approx(found["brier_reliability"] - found["brier_resolution"] + found["brier_uncertainty"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=6))
def test_aurc_is_expected_over_the_orders_of_ties(items: list[tuple[int, bool]]) -> None:
    orders = [order for order in itertools.permutations(items) if list(order) == sorted(order, key=lambda item: -item[0])]
    expected = np.mean([selective_risks([hit for _, hit in order]) for order in orders])
    assert values([level / 3 for level, _ in items], [hit for _, hit in items])["aurc"] == pytest.approx(expected)


def test_the_order_of_items_does_not_count() -> None:
    rng = np.random.default_rng(1)
    x, right = rng.integers(0, 11, 60) / 10, rng.random(60) < 0.6
    order = rng.permutation(60)
    assert values(x[order], right[order]) == pytest.approx(values(x, right), abs=1e-9)


def test_edges_and_rounded_sums() -> None:
    # 0.3, 0.6 and 0.7 are edges that floating point likes to miss: each is in the bin above it, where its neighbour makes up for it.
    for edge in (0.3, 0.6, 0.7):
        assert values([edge, edge + 0.05, edge - 0.05], [True, False, True])["ece"] == pytest.approx(
            (abs(2 * edge + 0.05 - 1) + abs(edge - 0.05 - 1)) / 3
        )
    assert values([0.1 + 0.2, 0.3], [True, False])["distinct_values"] == 1


@pytest.mark.parametrize("name", ["auprc_positive", "auprc_negative", "aurc", "brier_uncertainty", "accuracy", "auroc"])
def test_the_interval_is_that_of_naive_resampling(name: str) -> None:
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(40), 3)
    ease = rng.random(40)[unit]
    x, right = (0.5 * ease + 0.5 * rng.random(120)).round(1), rng.random(120) < ease
    naive = {
        "auprc_positive": average_precision_score,
        "auprc_negative": lambda y, c: average_precision_score(~y, -c),
        "aurc": lambda y, c: selective_risks(y[np.lexsort((rng.random(len(c)), -c))].tolist()),
        "brier_uncertainty": lambda y, c: y.mean() * (1 - y.mean()),
        "accuracy": lambda y, c: y.mean(),
        "auroc": roc_auc_score,
    }[name]
    drawn = []
    for _ in range(1000):
        items = np.concatenate([np.flatnonzero(unit == u) for u in rng.integers(40, size=40)])
        drawn.append(naive(right[items], x[items]))
    found = value(measure(x, right, seed=3, unit=unit.tolist(), draws=3000), name)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.02)
    assert found.low < found.value < found.high
    assert found.n == 120


def test_copies_of_an_item_in_its_unit_add_nothing() -> None:
    rng = np.random.default_rng(4)
    x, right = rng.integers(0, 21, 50) / 20, rng.random(50) < 0.6
    once = measure(x, right, seed=0, draws=200)
    copied = measure(np.repeat(x, 4), np.repeat(right, 4), seed=0, draws=200, unit=np.repeat(np.arange(50), 4).tolist())
    # What depends on the number of items is not alike: the bins of equal mass, the floors, the harmonic sums of AURC.
    alike = [name for name in MEASURES if "equal_mass" not in name and "floor" not in name and name != "aurc"]
    for name in alike:
        one, other = value(once, name), value(copied, name)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
        assert (one.n, other.n) == (50, 200)
    independent = value(measure(np.repeat(x, 4), np.repeat(right, 4), seed=0, draws=200), "accuracy")
    assert independent.high - independent.low < 0.7 * (value(copied, "accuracy").high - value(copied, "accuracy").low)


def test_the_floor_is_the_mean_ece_of_calibrated_models() -> None:
    rng = np.random.default_rng(5)
    x = rng.choice([0.5, 0.7, 0.9, 0.95], 60)
    naive = []
    for _ in range(3000):
        right = rng.random(60) < x
        naive.append(sum(abs((right - x)[np.floor(x * 10 + 1e-9) == tenth].sum()) for tenth in range(10)) / 60)
    floor = value(measure(x, right, seed=6, draws=3000), "ece_floor")
    assert floor.value == pytest.approx(np.mean(naive), abs=0.003)
    assert (floor.low, floor.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.01)


def test_models_that_are_sure_and_calibrated_are_right() -> None:
    found = measure([0.0] * 10 + [1.0] * 10, [False] * 10 + [True] * 10, seed=0)
    for name in ("ece", "ece_floor", "ece_equal_mass", "ece_equal_mass_floor", "brier", "brier_reliability"):
        assert value(found, name).high == 0
    assert value(found, "auroc").value == 1
    assert value(found, "aurc").value == pytest.approx(selective_risks([True] * 10 + [False] * 10))


@pytest.mark.parametrize("which", ["ece", "ece_equal_mass"])
def test_a_calibrated_model_is_at_the_floor_and_an_overconfident_one_above(which: str) -> None:
    rng = np.random.default_rng(7)
    at_floor = covers = above = 0
    values_of: list[float] = []
    floors: list[float] = []
    for seed in range(40):
        x = rng.choice([0.5, 0.6, 0.75, 0.8, 0.9, 1.0], 150)
        luck = rng.random(150)
        calibrated = measure(x, luck < x, seed=seed, draws=200)
        ece, floor = value(calibrated, which), value(calibrated, f"{which}_floor")
        values_of.append(ece.value)
        floors.append(floor.value)
        assert ece.low <= ece.value <= ece.high
        at_floor += floor.low <= ece.value <= floor.high
        covers += ece.low <= floor.value <= ece.high
        overconfident = measure(x, luck < x - 0.25, seed=seed, draws=200)
        above += value(overconfident, which).low > value(overconfident, f"{which}_floor").high
        assert value(overconfident, "overconfidence").low > 0
    assert np.mean(values_of) == pytest.approx(np.mean(floors), abs=0.006)
    assert np.mean(floors) > 0.03
    assert at_floor >= 34
    assert covers >= 34
    assert above >= 34


def test_the_interval_of_overconfidence_covers_what_was_planted() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for seed in range(60):
        x = rng.choice([0.7, 0.8, 0.9], 100)
        found = value(measure(x, rng.random(100) < x - 0.15, seed=seed, draws=300), "overconfidence")
        covered += found.low <= 0.15 <= found.high
    assert covered >= 51


def test_chance_is_what_one_value_for_all_items_has() -> None:
    rng = np.random.default_rng(9)
    right = rng.random(80) < 0.7
    found = values(np.full(80, right.mean()), right)
    levels = chance(np.full(80, right.mean()), right)
    assert list(levels) == ["brier", "auroc", "auprc_positive", "auprc_negative", "aurc"]
    assert {name: found[name] for name in levels} == pytest.approx(levels)


def test_chance_is_about_what_shuffled_confidence_has() -> None:
    rng = np.random.default_rng(10)
    right = rng.random(400) < 0.7
    x = np.where(right, 0.8, 0.4) + rng.random(400) / 5
    shuffled = [values(rng.permutation(x), right, draws=2) for _ in range(60)]
    levels = chance(x, right)
    for name in ("auroc", "auprc_positive", "auprc_negative", "aurc"):
        assert np.mean([each[name] for each in shuffled]) == pytest.approx(levels[name], abs=0.02)
        assert abs(values(x, right)[name] - levels[name]) > 0.1


def test_what_is_undefined_fails() -> None:
    found = measure([0.9, 0.8, 0.8, 1.0], [True] * 4, seed=0)
    assert {name for name, of in found.items() if isinstance(of, Failed)} == {"auroc", "auprc_negative"}
    assert value(found, "auprc_positive").value == 1
    assert set(chance([0.9, 0.8], [True, True])) == {"brier", "auprc_positive", "aurc"}
    assert set(chance([0.9, 0.8], [False, False])) == {"brier", "auprc_negative", "aurc"}
    # One incorrect answer is missing in more than a third of the resamples.
    assert isinstance(measure([0.9] * 50, [False] + [True] * 49, seed=0)["auprc_negative"], Failed)


def test_no_items_and_one_unit() -> None:
    assert measure([], [], seed=0) == dict.fromkeys(MEASURES, Failed("score", "no items"))
    assert chance([], []) == {}
    found = measure([0.9, 0.5], [True, False], seed=0, unit=["a", "a"])
    assert {name for name, of in found.items() if not isinstance(of, Failed)} == {"ece_floor", "ece_equal_mass_floor", "distinct_values"}


def test_items_that_cannot_be_are_refused() -> None:
    for confidence in ([90.0, 0.5], [-0.1, 0.5], [float("nan"), 0.5]):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            measure(confidence, [True, False], seed=0)
    with pytest.raises(ValueError, match="same items"):
        measure([0.5], [True, False], seed=0)


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(11)
    x, right = rng.integers(0, 21, 50) / 20, rng.random(50) < 0.4
    assert measure(x, right, seed=1, draws=50) == measure(x, right, seed=1, draws=50)
    one, other = measure(x, right, seed=1, draws=50), measure(x, right, seed=2, draws=50)
    # The share of items at one value moves in steps and may be the same.
    assert {name for name in MEASURES if one[name] == other[name]} <= {"distinct_values", "modal_share"}
