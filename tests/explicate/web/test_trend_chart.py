"""Histories as positions: against a placing of every point by itself, and with failures that have no height."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.results import Failure, Value
from explicate.web.trend_chart import CHART, SPARKLINE, Size, trend

FAILED = Failure(stage="ask", reason="the server is gone")


def _value(middle: float, width: float) -> Value:
    return Value(value=middle, low=middle - width, high=middle + width, n=9)


_values = st.lists(
    st.one_of(st.just(FAILED), st.builds(_value, st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), st.floats(0.01, 50))),
    min_size=1,
    max_size=12,
)


@given(_values, st.sampled_from([SPARKLINE, CHART]))
def test_points_lie_where_a_ruler_would_put_them(values: list[Value | Failure], size: Size) -> None:
    drawn = trend(values, size)
    known = [each for each in values if isinstance(each, Value)]
    if not known:
        assert drawn is None
        return
    assert drawn is not None
    top, bottom = max(each.high for each in known), min(each.low for each in known)
    for place, (value, point) in enumerate(zip(values, drawn["points"], strict=True)):
        share = place / (len(values) - 1) if len(values) > 1 else 0.5
        assert point["x"] == pytest.approx(size.left + share * (size.width - size.left - size.right), abs=0.06)
        if isinstance(value, Failure):
            assert point["y"] is point["low"] is point["high"] is None
            assert point["x"] in drawn["failed"]
            continue
        for name, number in (("y", value.value), ("low", value.low), ("high", value.high)):
            share = (top - number) / (top - bottom)
            assert point[name] == pytest.approx(size.top + share * (size.height - size.top - size.bottom), abs=0.06)
    assert len(drawn["failed"]) == len(values) - len(known)


@given(_values)
def test_no_line_crosses_a_failure(values: list[Value | Failure]) -> None:
    drawn = trend(values)
    if drawn is None:
        return
    stretches, now = [], 0
    for value in [*values, FAILED]:
        if isinstance(value, Value):
            now += 1
        elif now:
            stretches.append(now)
            now = 0
    assert [len(line.split()) for line in drawn["lines"]] == [length for length in stretches if length > 1]
    assert [len(band.split()) for band in drawn["bands"]] == [2 * length for length in stretches if length > 1]
    assert len(drawn["alone"]) == sum(length == 1 for length in stretches)


def test_values_that_are_all_the_same_stand_in_the_middle() -> None:
    drawn: Any = trend([Value(value=0.5, low=0.5, high=0.5, n=3)] * 3)
    assert {point["y"] for point in drawn["points"]} == {SPARKLINE.height / 2}


def test_the_baseline_is_within_the_drawing_even_where_no_run_reaches_it() -> None:
    drawn: Any = trend([_value(0.1, 0.05), _value(0.2, 0.05)], CHART, baseline=_value(0.9, 0.05))
    assert CHART.top <= drawn["baseline"] <= CHART.height - CHART.bottom
    assert drawn["baseline"] < min(point["high"] for point in drawn["points"])


@given(st.floats(-50, 50), st.floats(0.001, 100))
def test_numbers_beside_the_chart_are_round_and_few(middle: float, width: float) -> None:
    drawn: Any = trend([_value(middle, width)], CHART)
    ticks = [float(tick["text"]) for tick in drawn["ticks"]]
    assert 1 <= len(ticks) <= 6
    assert all(middle - width - 1e-6 <= tick <= middle + width + 1e-6 for tick in ticks)
