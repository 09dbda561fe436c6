import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.levels import levels


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.sampled_from([9, 10]))
def test_levels_are_tenths_of_the_peak(numerators: list[int], top: int) -> None:
    peak = max(numerators)
    expected = [min(top, 10 * n // peak) if peak else 0 for n in numerators]
    assert levels(np.array(numerators, np.float32), float(peak), top=top).tolist() == expected


def test_a_token_louder_than_the_peak_stays_at_the_top() -> None:
    assert levels(np.array([5.0, 0.0], np.float32), 2.0, top=9).tolist() == [9, 0]
