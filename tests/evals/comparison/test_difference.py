"""Intervals of differences against naive resampling, p-values against every exchange there is and against scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analyzers.errors import Failed
from evals.comparison.difference import LEAST, difference
from evals.metrics.confidence import BIASED, FORMULAS
from evals.metrics.metric import Items, averaged
from evals.results import Value
from evals.scores import Floats

ANY = Value(value=0.0, low=0.0, high=0.0, n=2)


def of(values: Floats, start: int = 0) -> Items:
    return averaged([(str(at), value) for at, value in enumerate(values.tolist(), start)])


def stated(values: Floats, name: str, start: int = 0) -> Items:
    return Items(tuple(map(str, range(start, start + len(values)))), values, FORMULAS[name], name in BIASED)


def test_a_paired_interval_is_that_of_naive_resampling_of_items() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=40)
    after = before + rng.normal(0.3, 0.5, size=40)
    naive = []
    for _ in range(4000):
        drawn = rng.integers(40, size=40)
        naive.append(np.mean([after[at] for at in drawn]) - np.mean([before[at] for at in drawn]))
    found = difference(ANY, ANY, of(before), of(after), draws=4000, seed=0)
    assert found.paired
    assert isinstance(found.value, Value)
    assert found.value.value == pytest.approx((after - before).mean())
    assert found.value.n == 40
    assert (found.value.low, found.value.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.02)


def test_an_unpaired_interval_is_that_of_naive_resampling_of_both_runs() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.exponential(size=30), rng.exponential(1.5, size=50)
    naive = [rng.choice(after, 50).mean() - rng.choice(before, 30).mean() for _ in range(4000)]
    found = difference(ANY, ANY, of(before), of(after, start=1000), draws=4000, seed=0)
    assert not found.paired
    assert isinstance(found.value, Value)
    assert found.value.n == 30
    assert (found.value.low, found.value.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.04)


@pytest.mark.parametrize("name", ["auroc", "ece"])
def test_a_paired_difference_of_a_measure_draws_the_same_items_in_both_runs(name: str) -> None:
    """auroc against scikit-learn, ece against the measure of the items themselves."""
    from sklearn.metrics import roc_auc_score

    from evals.confidence.measures import measure

    rng = np.random.default_rng(3)
    sure = rng.choice([0.5, 0.7, 0.9], size=30)
    runs = [np.column_stack([sure, rng.random(30) < share * sure]) for share in (1.1, 0.6)]

    def one(values: Floats) -> float:
        if name == "auroc":
            return float(roc_auc_score(values[:, 1] > 0, values[:, 0]))
        found = measure(values[:, 0], values[:, 1] > 0, seed=0, draws=2)["ece"]
        assert isinstance(found, Value)
        return found.value

    naive = []
    for _ in range(600):
        drawn = rng.integers(30, size=30)
        if all(0 < run[drawn, 1].sum() < 30 for run in runs):
            naive.append(one(runs[1][drawn]) - one(runs[0][drawn]))
    found = difference(ANY, ANY, stated(runs[0], name), stated(runs[1], name), draws=4000, seed=0)
    assert isinstance(found.value, Value)
    assert found.value.value == pytest.approx(one(runs[1]) - one(runs[0]))
    low, high = np.quantile(naive, [0.025, 0.975])
    assert found.value.high - found.value.low == pytest.approx(high - low, rel=0.15)
    if name in BIASED:
        # Each run is resampled with a bias of its own: the interval is around the difference.
        assert found.value.high - found.value.value == pytest.approx(found.value.value - found.value.low)
    else:
        assert (found.value.low, found.value.high) == pytest.approx((low, high), abs=0.04)


def every_exchange(before: Floats, after: Floats, name: str) -> float:
    """p over all ways of exchanging the two values of items."""
    formula = FORMULAS[name]

    def moved(one: Floats, other: Floats) -> float:
        each = [formula(values)(np.ones((1, len(values)))) for values in (one, other)]
        return float(np.abs(np.ma.masked_array(each[1] - each[0]).filled(np.inf))[0])

    signs = np.array(list(itertools.product([False, True], repeat=len(before))))[:, :, None]
    all_of_them = [moved(np.where(swapped, after, before), np.where(swapped, before, after)) for swapped in signs]
    return float(np.mean(np.array(all_of_them) >= moved(before, after) - 1e-12))


@pytest.mark.parametrize("name", ["accuracy", "brier", "ece", "auroc"])
def test_p_of_paired_items_is_the_share_of_all_exchanges_that_move_it_as_far(name: str) -> None:
    rng = np.random.default_rng(4)
    before, after = (np.column_stack([rng.choice([0.4, 0.6, 0.9], 9), rng.random(9) < share]) for share in (0.8, 0.4))
    found = difference(ANY, ANY, stated(before, name), stated(after, name), draws=200, seed=0)
    if isinstance(found.value, Failed):
        assert found.p(999) is None
        return
    assert found.p(20000) == pytest.approx(every_exchange(before, after, name), abs=0.02)


# Values on a grid: which sums are equal is then exact, and no matter of how near is near enough.
ON_GRID = st.integers(-64, 64).map(lambda number: number / 64)


@given(values=st.lists(st.tuples(ON_GRID, ON_GRID), min_size=3, max_size=12), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_p_of_means_is_scipys_permutation_test(values: list[tuple[float, float]], seed: int) -> None:
    before, after = np.array(values).T

    def moved(x: Floats, y: Floats, axis: int) -> Floats:
        found: Floats = np.abs((y - x).mean(axis=axis))
        return found

    expected = stats.permutation_test((before, after), moved, permutation_type="samples", alternative="greater", n_resamples=np.inf)
    found = difference(ANY, ANY, of(before), of(after), draws=100, seed=seed).p(4000)
    assert found == pytest.approx(expected.pvalue, abs=0.05)


def test_p_of_other_items_is_scipys_permutation_test() -> None:
    rng = np.random.default_rng(5)
    before, after = rng.normal(size=12), rng.normal(0.8, size=15)

    def moved(x: Floats, y: Floats, axis: int) -> Floats:
        found: Floats = np.abs(y.mean(axis=axis) - x.mean(axis=axis))
        return found

    expected = stats.permutation_test((before, after), moved, n_resamples=20000, alternative="greater", rng=0)
    found = difference(ANY, ANY, of(before), of(after, start=100), draws=100, seed=0).p(20000)
    assert found == pytest.approx(expected.pvalue, abs=0.01)


def test_without_items_p_is_welchs_of_the_intervals() -> None:
    rng = np.random.default_rng(6)
    runs = [rng.normal(mean, spread, size=n) for mean, spread, n in ((0.0, 1.0, 80), (0.4, 2.0, 60))]
    values = []
    for x in runs:
        # The interval that a bootstrap of a mean tends to.
        half = 1.959964 * x.std() / np.sqrt(len(x))
        values.append(Value(value=x.mean(), low=x.mean() - half, high=x.mean() + half, n=len(x)))
    found, expected = difference(*values, None, None, draws=100, seed=0), stats.ttest_ind(runs[1], runs[0], equal_var=False)
    assert found.p(1) == pytest.approx(expected.pvalue, rel=1e-4)
    assert isinstance(found.value, Value)
    interval = expected.confidence_interval(0.95)
    assert (found.value.low, found.value.high) == pytest.approx((interval.low, interval.high), rel=1e-3)
    assert not found.paired


@pytest.mark.parametrize("value", [Value(value=0.5, low=0.5, high=0.5, n=100), Value(value=0.5, low=0.4, high=0.6, n=LEAST - 1)])
def test_intervals_of_no_width_or_few_items_tell_nothing(value: Value) -> None:
    found = difference(value, Value(value=0.9, low=0.8, high=1.0, n=100), None, None, draws=100, seed=0)
    assert isinstance(found.value, Failed)
    assert found.p(999) is None


def test_the_same_items_again_have_not_moved() -> None:
    values = np.random.default_rng(7).normal(size=25)
    found = difference(ANY, ANY, of(values), of(values), draws=500, seed=0)
    assert found.value == Value(value=0.0, low=0.0, high=0.0, n=25)
    assert found.p(999) == 1.0


def test_items_are_found_by_their_key_in_any_order_and_only_common_ones_are_paired() -> None:
    before = averaged([("a", 1.0), ("b", 2.0), ("c", 3.0), ("gone", 50.0)])
    after = averaged([("c", 3.5), ("new", -50.0), ("a", 1.5), ("b", 2.5)])
    found = difference(ANY, ANY, before, after, draws=200, seed=0)
    assert found.paired
    assert found.value == Value(value=0.5, low=0.5, high=0.5, n=3)


def test_few_common_items_do_not_stand_for_all() -> None:
    before, after = of(np.arange(10.0)), of(np.arange(10.0), start=8)
    assert not difference(ANY, ANY, before, after, draws=100, seed=0).paired


def test_a_single_item_is_no_sample() -> None:
    found = difference(ANY, ANY, of(np.ones(1)), of(np.zeros(1)), draws=100, seed=0)
    assert isinstance(found.value, Failed)
    assert found.p(99) is None


def test_a_statistic_that_most_resamples_lack_has_no_difference() -> None:
    """AUROC with a single wrong answer: more than a third of the resamples have none."""
    pairs = np.column_stack([np.linspace(0.1, 1.0, 20), np.arange(20) > 0])
    found = difference(ANY, ANY, stated(pairs, "auroc"), stated(pairs, "auroc"), draws=200, seed=0)
    assert isinstance(found.value, Failed)
    assert found.p(99) is None
