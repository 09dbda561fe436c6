"""How influence is spread and how rankings agree, beside counting it out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyzers.errors import Failed
from evals.influence.measures import SHARES, agreement, concentration, held_by, ranked, standardised
from evals.results import Failure, Value

NUMBERS = st.lists(st.floats(-5, 5).map(lambda value: round(value, 2)), min_size=4, max_size=30)


@settings(deadline=None)
@given(values=NUMBERS, drawn=st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_what_is_held_is_that_of_the_passages_written_out(values: list[float], drawn: list[int]) -> None:
    """Of weighed passages that of as many copies of each; where the share is a whole number of them."""
    copies = sorted((value for value, times in zip(values, drawn, strict=False) for _ in range(times)), reverse=True)
    found = held_by(np.array(values), 0.25)(np.array([drawn[: len(values)]], np.float64))
    whole = sum(max(value, 0) for value in copies)
    if not whole:
        assert np.ma.getmaskarray(found).all()
        return
    count, rest = divmod(len(copies), 4)
    taken = sum(max(value, 0) for value in copies[:count]) + (rest / 4) * max([*copies, 0.0][count], 0)
    assert float(found[0]) == pytest.approx(taken / whole, abs=1e-9)


def test_even_influence_is_held_evenly() -> None:
    found = concentration(np.ones(100))
    for share in SHARES:
        value = found[share]
        assert isinstance(value, Value)
        assert value.value == pytest.approx(share)
        assert value.low == value.high == pytest.approx(share)
    alone = concentration(np.r_[np.ones(3), np.zeros(97)])[0.1]
    assert isinstance(alone, Value)
    assert alone.value == pytest.approx(1.0)
    assert isinstance(concentration(-np.ones(50))[0.01], Failure)


@settings(deadline=None)
@given(one=NUMBERS, seed=st.integers(0, 99))
def test_agreement_is_spearman_s(one: list[float], seed: int) -> None:
    other = np.random.default_rng(seed).integers(4, size=len(one)).astype(float)
    found = ranked(np.array(one), other)(np.ones((1, len(one))))
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert np.ma.getmaskarray(found).all()
        return
    assert float(found[0]) == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_what_failed_agrees_with_nothing() -> None:
    values = np.arange(20.0)
    found = agreement(values, {"same": values**3, "against": -values, "none": Failed("baseline", "not there")})
    assert isinstance(found["same"], Value)
    assert isinstance(found["against"], Value)
    assert (found["same"].value, found["against"].value) == (pytest.approx(1), pytest.approx(-1))
    assert found["none"] == Failure(stage="baseline", reason="not there")


def test_standardised_values_compare() -> None:
    values = np.array([3.0, -4.0])
    np.testing.assert_allclose(standardised(values), standardised(10 * values))
    assert float(np.mean(standardised(values) ** 2)) == pytest.approx(1)
    assert standardised([0.0, 0.0]).tolist() == [0, 0]
