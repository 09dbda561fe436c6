"""The seven measures by hand, and what must hold of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import Failed
from evals.audit.agreement import agreement

ten = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=20)


def test_by_hand() -> None:
    # Ten units, so two come first: by size 0 and 1 of the one, 1 and 0 of the other; signs agree on unit 0 alone.
    one = [9.0, -8, 1, 0, 0, 0, 0, 0, 0, 0]
    other = [5.0, 7, 1, 0, 0, 0, 0, 0, 0, 0]
    found = agreement(one, other, by_size=True)
    assert found["feature_agreement"] == 1
    assert found["rank_agreement"] == 0
    assert found["sign_agreement"] == 0.5
    assert found["signed_rank_agreement"] == 0
    assert found["intersection_over_union"] == 1
    # By support -8 is the last of the one: its first two are 0 and 2.
    by_support = agreement(one, other, by_size=False)
    assert by_support["feature_agreement"] == 0.5
    assert by_support["intersection_over_union"] == pytest.approx(1 / 3)
    # Of 45 pairs: (0, 1) is turned round, and -8 stands against +7 beside the other 8 units.
    assert found["pairwise_rank_agreement"] == pytest.approx(36 / 45)


@given(values=ten)
@settings(max_examples=80, deadline=None)
def test_an_explanation_agrees_with_itself(values: list[float]) -> None:
    for name, value in agreement(values, values, by_size=True).items():
        assert isinstance(value, Failed) or value == pytest.approx(1), name


@given(values=ten, seed=st.randoms())
@settings(max_examples=80, deadline=None)
def test_symmetric_and_bounded_and_ordered(values: list[float], seed: object) -> None:
    other = list(values)
    seed.shuffle(other)  # type: ignore[attr-defined]
    there, back = agreement(values, other, by_size=False), agreement(other, values, by_size=False)
    for name, value in there.items():
        assert value == back[name] or (not isinstance(value, Failed) and value == pytest.approx(back[name]))
        assert isinstance(value, Failed) or -1 - 1e-9 <= value <= 1 + 1e-9
    numbers = {name: value for name, value in there.items() if not isinstance(value, Failed)}
    assert numbers["signed_rank_agreement"] <= min(numbers["rank_agreement"], numbers["sign_agreement"])
    assert max(numbers["rank_agreement"], numbers["sign_agreement"]) <= numbers["feature_agreement"]


def test_what_is_not_ranked_has_no_rank_correlation() -> None:
    assert agreement([1.0, 1.0], [1.0, 2.0], by_size=True)["rank_correlation"] == Failed("score", "all attributions are equal")
    assert isinstance(agreement([1.0], [2.0], by_size=True)["pairwise_rank_agreement"], Failed)
