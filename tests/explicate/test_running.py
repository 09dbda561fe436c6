"""What tables write of numbers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicate.running import short


@given(st.floats(-1e6, 1e6), st.integers(1, 4))
def test_a_short_number_is_read_as_the_rounded_one(value: float, digits: int) -> None:
    text = short(value, digits=digits)
    assert float(text) == pytest.approx(value, abs=0.51 * 10**-digits, rel=1e-12)
    assert re.fullmatch(rf"-?([1-9]\d*)?\.\d{{{digits}}}", text)


@pytest.mark.parametrize(("value", "text"), [(10.5, "10.50"), (-0.3, "-.30"), (-0.001, ".00"), (1.0, "1.00")])
def test_only_a_0_before_the_point_is_left_out(value: float, text: str) -> None:
    assert short(value) == text


def test_a_sign_is_shown_where_it_is_wanted() -> None:
    assert [short(value, sign=True) for value in (0.25, -0.25, 0.0)] == ["+.25", "-.25", "+.00"]
