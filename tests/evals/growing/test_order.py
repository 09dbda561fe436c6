"""The order of acquisition, and Kendall's tau between trainings against scipy."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from evals.growing.order import agreement, ranking
from evals.results import Failure, Value


def at(step: float) -> Value:
    return Value(value=step, low=step, high=step, n=10)


NEVER = Failure(stage="score", reason="did not grow")


def test_curves_are_ranked_by_their_steps_over_trainings() -> None:
    t90s = {"facts": [at(900), NEVER], "pos": [at(10), at(30)], "tree": [at(100), at(200)], "islands": [NEVER, NEVER]}
    assert ranking(t90s) == ["pos", "tree", "facts", "islands"]
    # By the mean of logarithms: (log2(2) + log2(1024)) / 2 = 5.5 lies below (log2(64) + log2(64)) / 2 = 6.
    assert ranking({"even": [at(63), at(63)], "uneven": [at(1), at(1023)]}) == ["uneven", "even"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 20)] * 3), min_size=3, max_size=12))
def test_tau_is_scipys(steps: list[tuple[int, int, int]]) -> None:
    orders = [{f"curve{number}": float(row[training]) for number, row in enumerate(steps)} for training in range(3)]
    found = agreement(orders)
    expected = [kendalltau(*([row[which] for row in steps] for which in both)).statistic for both in combinations(range(3), 2)]
    if np.isnan(expected).any():
        assert isinstance(found, Failure)
    elif isinstance(found, Value):  # with few curves most draws have no order
        assert found.value == pytest.approx(np.mean(expected))


def test_the_same_order_the_opposite_one_and_none() -> None:
    names = [f"curve{number}" for number in range(14)]
    same = [{name: 2.0**number for number, name in enumerate(names)} for _ in range(2)]
    agreed = agreement(same)
    assert isinstance(agreed, Value)
    assert (agreed.value, agreed.low, agreed.high, agreed.n) == (pytest.approx(1), pytest.approx(1), pytest.approx(1), 14)
    opposite = [same[0], {name: -step for name, step in same[1].items()}]
    found = agreement(opposite)
    assert isinstance(found, Value)
    assert found.value == pytest.approx(-1)
    rng = np.random.default_rng(0)
    spans = 0
    for _ in range(40):
        drawn = agreement([{name: rng.random() for name in names} for _ in range(2)])
        assert isinstance(drawn, Value)
        spans += drawn.low <= 0 <= drawn.high
    assert spans >= 34


def test_only_curves_that_all_trainings_acquired_count() -> None:
    one = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 9.0}
    other = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "f": 0.0}
    found = agreement([one, other])
    assert isinstance(found, Value)
    assert (found.value, found.n) == (pytest.approx(1), 4)


def test_what_cannot_be_compared() -> None:
    alone = agreement([{"a": 1.0, "b": 2.0, "c": 3.0}])
    assert isinstance(alone, Failure)
    assert "--seeds 2" in alone.reason
    few = agreement([{"a": 1.0, "b": 2.0}] * 2)
    assert isinstance(few, Failure)
    assert few.reason.startswith("2 curves grew in every training")
