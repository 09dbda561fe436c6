import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import Failed
from evals.scoring.ensemble import combine

LOST = Failed("score", "no answer")
NUMBER = st.integers(-1000, 1000).map(lambda value: value / 10)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(st.one_of(NUMBER, st.just(LOST)), min_size=n, max_size=n), min_size=1, max_size=4)
    )
)
def test_mean_of_standard_scores(rows: list[list[float | Failed]]) -> None:
    found = combine({f"s{at}": row for at, row in enumerate(rows)})
    for number, value in enumerate(found):
        parts = []
        for row in rows:
            kept = [score for score in row if not isinstance(score, Failed)]
            mine = row[number]
            if not isinstance(mine, Failed):
                spread = statistics.pstdev(kept)
                parts.append((mine - statistics.mean(kept)) / spread if max(kept) > min(kept) else 0.0)
        if 2 * len(parts) < len(rows):
            assert isinstance(value, Failed)
        else:
            assert isinstance(value, float)
            assert math.isclose(value, statistics.mean(parts), abs_tol=1e-9)


def test_a_scorer_of_large_numbers_weighs_no_more() -> None:
    found = combine({"small": [0.1, 0.2, 0.3], "large": [3000.0, 2000.0, 1000.0], "third": [1.0, 0.0, 0.0]})
    assert found[0] == max(value for value in found if isinstance(value, float))


def test_half_may_fail_and_no_more() -> None:
    first, second = combine({"a": [1.0, LOST], "b": [LOST, LOST], "c": [LOST, 2.0], "d": [4.0, LOST]})
    assert isinstance(first, float)
    assert second == Failed("score", "3 of 4 scorers failed: a: no answer")


def test_they_must_have_scored_the_same() -> None:
    with pytest.raises(ValueError, match=r"they scored \[1, 2\]"):
        combine({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="they scored none"):
        combine({})
