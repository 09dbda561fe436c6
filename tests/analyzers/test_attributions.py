"""Attribution methods on planted value functions whose Shapley values are known in closed form."""

from collections.abc import Mapping
from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.attributions import METHODS, Floats, Kept
from analyzers.errors import ExplicateError


def planted(weights: list[float], pair: tuple[int, int, float] | None = None):  # type: ignore[no-untyped-def]
    """v(S): the weights of the units in S, and of a pair that is whole."""

    def value(kept: Kept) -> float:
        both = pair is not None and {pair[0], pair[1]} <= kept
        return sum(weights[unit] for unit in kept) + (pair[2] if pair is not None and both else 0.0) + 0.7

    return value


def attributed(method: str, units: int, value, most: int = 200, seed: int = 0) -> Floats:  # type: ignore[no-untyped-def]
    plan = METHODS.get(method)(units, most, np.random.default_rng(seed))
    table: Mapping[Kept, float] = {kept: value(kept) for kept in plan.sets}
    return plan.values(table)


def exact(units: int, value) -> Floats:  # type: ignore[no-untyped-def]
    """Shapley values by their definition, over all sets."""
    found = np.zeros(units)
    for unit in range(units):
        others = [other for other in range(units) if other != unit]
        for size in range(units):
            share = factorial(size) * factorial(units - size - 1) / factorial(units)
            for some in combinations(others, size):
                found[unit] += share * (value(frozenset({*some, unit})) - value(frozenset(some)))
    return found


weights_of = st.lists(st.floats(-2, 2), min_size=2, max_size=9)


@pytest.mark.parametrize("method", ["occlusion", "shapley", "kernel-shap"])
@given(weights=weights_of, seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_the_weights_of_an_additive_function_come_back(method: str, weights: list[float], seed: int) -> None:
    found = attributed(method, len(weights), planted(weights), most=60, seed=seed)
    assert found == pytest.approx(weights, abs=1e-8)


@given(weights=weights_of, bonus=st.floats(-2, 2), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_an_interaction_is_shared_and_the_values_sum_to_the_whole(weights: list[float], bonus: float, seed: int) -> None:
    value = planted(weights, (0, 1, bonus))
    expected = np.array(weights) + np.array([bonus / 2, bonus / 2, *[0.0] * (len(weights) - 2)])
    assert exact(len(weights), value) == pytest.approx(expected, abs=1e-8)
    whole = value(frozenset(range(len(weights)))) - value(frozenset())
    for method in ("shapley", "kernel-shap"):
        found = attributed(method, len(weights), value, most=40, seed=seed)
        assert found.sum() == pytest.approx(whole, abs=1e-8)
    # A permutation and its reverse have each unit of a pair come second once.
    assert attributed("shapley", len(weights), value, seed=seed) == pytest.approx(expected, abs=1e-8)
    assert attributed("kernel-shap", len(weights), value, most=512, seed=seed) == pytest.approx(expected, abs=1e-6)
    assert attributed("occlusion", len(weights), value)[:2] == pytest.approx(np.array(weights)[:2] + bonus, abs=1e-8)


def test_a_function_without_a_pattern_is_found_with_enough_sets() -> None:
    rng = np.random.default_rng(5)
    table = {frozenset(some): rng.normal() for size in range(8) for some in combinations(range(7), size)}
    true = exact(7, table.__getitem__)
    assert attributed("kernel-shap", 7, table.__getitem__, most=128) == pytest.approx(true, abs=1e-8)
    few, many, every = (np.abs(attributed("shapley", 7, table.__getitem__, most=most) - true).max() for most in (30, 127, 128))
    assert every < 1e-9 < many < few
    drawn_often = [attributed("shapley", 7, table.__getitem__, most=127, seed=seed) for seed in range(200)]
    assert np.abs(np.mean(drawn_often, axis=0) - true).max() < 0.06
    drawn = attributed("kernel-shap", 7, table.__getitem__, most=100)
    assert np.corrcoef(drawn, true)[0, 1] > 0.8


@given(st.integers(1, 5).flatmap(lambda units: st.lists(st.floats(-9, 9), min_size=2**units, max_size=2**units)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_where_all_sets_fit_shapley_is_the_mean_over_all_orders(table: list[float], seed: int) -> None:
    """Of any values of all sets, against every permutation walked through, one unit added after the other."""
    units = len(table).bit_length() - 1

    def value(kept: Kept) -> float:
        return table[sum(1 << unit for unit in kept)]

    added = np.zeros(units)
    orders = list(permutations(range(units)))
    for order in orders:
        for place, unit in enumerate(order):
            added[unit] += value(frozenset(order[: place + 1])) - value(frozenset(order[:place]))
    plan = METHODS.get("shapley")(units, 2**units, np.random.default_rng(seed))
    assert len(plan.sets) == len(set(plan.sets)) == 2**units
    of = {kept: value(kept) for kept in plan.sets}
    assert plan.values(of) == pytest.approx(added / len(orders), abs=1e-9)
    assert plan.errors(of) is None


@pytest.mark.parametrize(("units", "most", "exact"), [(7, 128, True), (7, 127, False), (4, 4, True), (5, 4, False), (60, 40, False)])
def test_what_fits_is_exact_and_what_does_not_is_sampled_with_errors(units: int, most: int, exact: bool) -> None:
    """Four units at the least budget have no more sets than the least that is asked for."""
    for method in ("shapley", "kernel-shap"):
        plan = METHODS.get(method)(units, most, np.random.default_rng(0))
        of = {kept: float(len(kept) ** 2) for kept in plan.sets}
        assert (plan.errors(of) is None) == exact, method
        if exact:
            assert len(of) == 2**units


def test_lime_is_the_regression_of_the_lime_package() -> None:
    """Against the formula written out: weighted least squares with a penalty, an intercept left free."""
    rng = np.random.default_rng(2)
    weights = rng.normal(size=8).tolist()
    plan = METHODS.get("lime")(8, 400, np.random.default_rng(3))
    value = planted(weights, (0, 3, 1.0))
    x = np.array([[float(unit in kept) for unit in range(8)] for kept in plan.sets])
    y = np.array([value(kept) for kept in plan.sets])
    cosine = (x @ np.ones(8)) / np.maximum(np.sqrt(x.sum(axis=1)) * np.sqrt(8), 1e-12)
    w = np.exp(-((100 * (1 - cosine)) ** 2) / 625) ** 0.5
    design = np.column_stack([np.ones(len(x)), x])
    expected = np.linalg.solve(design.T @ (design * w[:, None]) + np.diag([0.0, *[1.0] * 8]), design.T @ (w * y))[1:]
    assert plan.values({kept: value(kept) for kept in plan.sets}) == pytest.approx(expected, abs=1e-8)
    assert np.corrcoef(expected, weights)[0, 1] > 0.8


@pytest.mark.parametrize("method", ["occlusion", "shapley", "kernel-shap", "lime"])
def test_a_budget_is_kept_and_a_single_unit_has_all_of_it(method: str) -> None:
    sets = METHODS.get(method)(12, 100, np.random.default_rng(0)).sets
    assert len(set(sets)) <= 100
    assert frozenset(range(12)) in sets
    if method != "lime":
        assert attributed(method, 1, planted([1.5])) == pytest.approx([1.5])


@pytest.mark.parametrize("method", ["occlusion", "shapley", "kernel-shap", "lime"])
@pytest.mark.parametrize("units", [2, 3, 4, 5, 6])
def test_a_budget_that_is_too_small_gets_what_the_method_needs(method: str, units: int) -> None:
    found = attributed(method, units, planted([0.5, -1.0, 2.0, 0.25, -0.75, 1.5][:units]), most=4)
    assert np.isfinite(found).all()


def test_drawn_sets_weigh_what_the_kernel_says() -> None:
    """Single units and their complements have their share of the whole weight, however few sets are drawn beside them."""
    plan = METHODS.get("kernel-shap")(50, 210, np.random.default_rng(0))
    weights: Mapping[Kept, float] = plan.weights(np.array(list(plan._drawn.values()), float))  # type: ignore[attr-defined]
    outer = sum(weight for kept, weight in weights.items() if len(kept) in (1, 49))
    exact_share = (2 / 49) / sum(1 / (size * (50 - size)) for size in range(1, 50))
    assert outer / sum(weights.values()) == pytest.approx(exact_share)


@pytest.mark.parametrize("method", ["shapley", "kernel-shap", "lime"])
def test_the_standard_errors_are_the_spread_over_seeds(method: str) -> None:
    rng = np.random.default_rng(7)
    weights, noise = rng.normal(size=9).tolist(), {}

    def value(kept: Kept) -> float:
        # Weights and a pair, and something that no sum of weights explains, the same for a set each time.
        return float(planted(weights, (0, 1, 2.0))(kept) + noise.setdefault(kept, rng.normal()))

    values, errors = [], []
    for seed in range(40):
        plan = METHODS.get(method)(9, 120, np.random.default_rng(seed))
        table = {kept: value(kept) for kept in plan.sets}
        found = plan.errors(table)
        assert found is not None
        values.append(plan.values(table))
        errors.append(found)
    spread = np.std(values, axis=0, ddof=1).mean()
    assert np.mean(errors) == pytest.approx(spread, rel=0.35)


def test_what_samples_nothing_has_no_standard_error() -> None:
    for method, most in (("occlusion", 100), ("kernel-shap", 64), ("shapley", 64)):
        plan = METHODS.get(method)(6, most, np.random.default_rng(0))
        assert plan.errors(dict.fromkeys(plan.sets, 1.0)) is None


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ExplicateError, match="kernel-shap, lime, occlusion, shapley"):
        METHODS.get("attention")
