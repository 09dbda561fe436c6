"""The seven measures by hand, and what must hold of them."""

import tracemalloc
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyzers.errors import Failed
from evals.audit.agreement import MEASURES, agreement

many = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=12, unique=True)


def measured(one: list[float], other: list[float], *, by_size: bool, seed: int = 0) -> dict[str, float]:
    found = agreement(one, other, by_size=by_size, rng=np.random.default_rng(seed))
    return {name: pair[0] for name, pair in found.items() if not isinstance(pair, Failed)}


def test_by_hand() -> None:
    # Ten units, so two come first: by size 0 and 1 of the one, 1 and 0 of the other; signs agree on unit 0 alone.
    one = [9.0, -8, 1, 0, 0, 0, 0, 0, 0, 0]
    other = [5.0, 7, 1, 0, 0, 0, 0, 0, 0, 0]
    found = measured(one, other, by_size=True)
    assert found["feature_agreement"] == 1
    assert found["rank_agreement"] == 0
    assert found["sign_agreement"] == 0.5
    assert found["signed_rank_agreement"] == 0
    assert found["intersection_over_union"] == 1
    # By support -8 is the last of the one: its first two are 0 and 2.
    by_support = measured(one, other, by_size=False)
    assert by_support["feature_agreement"] == 0.5
    assert by_support["intersection_over_union"] == pytest.approx(1 / 3)
    # Of 45 pairs: (0, 1) is turned round, and -8 stands against +7 beside the other 8 units.
    assert found["pairwise_rank_agreement"] == pytest.approx(36 / 45)


def test_ties_do_not_agree_by_their_place() -> None:
    """One word each, and not the same, among twenty: of the four that come first three are drawn from the rest."""
    one, other = [1.0] + [0.0] * 19, [0.0] * 19 + [1.0]
    found = agreement(one, other, by_size=True, rng=np.random.default_rng(0))["feature_agreement"]
    assert not isinstance(found, Failed)
    # By the tie draws: 18 shared places for three words each, and each own word is drawn by the other with 3 / 19.
    expected = (2 * 3 / 19 + 18 * (3 / 19) ** 2) / 4
    assert found[0] == pytest.approx(expected, abs=0.06)
    # In a random place the one word is the other's once in twenty.
    assert found[1] == pytest.approx(expected, abs=0.08)


def test_chance_is_what_shuffled_explanations_have() -> None:
    rng = np.random.default_rng(1)
    value, chance = np.mean(
        [list(agreement(v, v, by_size=False, rng=rng)["feature_agreement"]) for v in rng.normal(size=(30, 15)).tolist()],  # type: ignore[arg-type]
        axis=0,
    )
    assert value == 1
    assert chance == pytest.approx(3 / 15, abs=0.03)


@given(values=many)
@settings(max_examples=30, deadline=None)
def test_an_explanation_agrees_with_itself(values: list[float]) -> None:
    # By size 3 and -3 are a tie, which the two may break apart.
    for name, value in measured(values, values, by_size=False).items():
        assert value == pytest.approx(1), name


@given(values=many, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_symmetric_bounded_and_ordered(values: list[float], seed: int) -> None:
    other = np.random.default_rng(seed).permutation(values).tolist()
    there, back = measured(values, other, by_size=False), measured(other, values, by_size=False)
    assert there == pytest.approx(back)
    assert all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in there.values())
    assert there["signed_rank_agreement"] <= min(there["rank_agreement"], there["sign_agreement"]) + 1e-12
    assert max(there["rank_agreement"], there["sign_agreement"]) <= there["feature_agreement"] + 1e-12


def test_where_nothing_comes_first_nothing_agrees() -> None:
    found = agreement([1.0, 1.0], [1.0, 2.0], by_size=True, rng=np.random.default_rng(0))
    assert found == dict.fromkeys(MEASURES, Failed("score", "all attributions are equal"))


def ordered_alike(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Share of the pairs of units whose values are in the same order in both."""
    return float(np.mean([np.sign(a[i] - a[j]) == np.sign(b[i] - b[j]) for i, j in combinations(range(len(a)), 2)]))


few = st.lists(st.integers(-2, 2).map(float), min_size=5, max_size=5).filter(lambda values: len(set(values)) > 1)


@given(one=few, other=few)
@settings(max_examples=30, deadline=None)
def test_measures_of_all_units_are_those_of_every_order(one: list[float], other: list[float]) -> None:
    """With ties: what there is by hand and by scipy, and by chance the mean over all 120 orders of the one."""
    found = agreement(one, other, by_size=True, rng=np.random.default_rng(0))
    pairwise, correlation = found["pairwise_rank_agreement"], found["rank_correlation"]
    assert isinstance(pairwise, tuple)
    assert isinstance(correlation, tuple)
    orders = list(permutations(one))
    assert pairwise[0] == pytest.approx(ordered_alike(tuple(one), tuple(other)))
    assert pairwise[1] == pytest.approx(np.mean([ordered_alike(order, tuple(other)) for order in orders]))
    assert correlation[0] == pytest.approx(spearmanr(one, other).statistic)
    assert correlation[1] == pytest.approx(np.mean([spearmanr(order, other).statistic for order in orders]), abs=1e-9)


def test_a_long_text_fits_into_memory() -> None:
    one, other = np.random.default_rng(0).integers(0, 9, size=(2, 500)).astype(float).tolist()
    tracemalloc.start()
    agreement(one, other, by_size=True, rng=np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
