"""Curves over layers: where lines, bands, levels and their names stand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.results import Failure, Value
from explicate.curve_chart import APART, Level, Line, curve_chart

GONE = Failure(stage="s", reason="no states")


def value(of: float, spread: float = 0.125) -> Value:
    return Value(value=of, low=of - spread, high=of + spread, n=9)


def told(of: Value) -> str:
    return f"{of.value:g}"


def test_lines_bands_levels_and_the_marked_place() -> None:
    lines = [
        Line("mine", "line0", [0, 2, 4], [value(0.25), value(0.5), value(0.875)]),
        Line("other", "line1", [2, 4], [GONE, value(0.125)]),
    ]
    # The axis goes from 0 to 1.
    chart = curve_chart("t", "layer", lines, told, levels=[Level("chance", 0.5)], marked=2, width=100, height=200)
    mine, other = chart["lines"]
    assert mine["paths"] == ["0.0,150.0 50.0,100.0 100.0,25.0"]
    assert mine["bands"] == ["0.0,175.0 50.0,125.0 100.0,50.0 100.0,0.0 50.0,75.0 0.0,125.0"]
    assert [point["says"] for point in mine["points"]] == ["mine, layer 0: 0.25", "mine, layer 2: 0.5", "mine, layer 4: 0.875"]
    assert (other["paths"], other["failed"]) == (["100.0,175.0"], ["none at 1 of 2: no states"])
    assert chart["levels"] == [{"y": 100.0, "name": "chance", "name_y": 100.0}]
    assert chart["marked"] == 50.0
    assert [tick["text"] for tick in chart["x"]] == ["0", "2", "4"]


def test_a_chart_without_a_value_has_nothing_to_draw() -> None:
    assert not curve_chart("t", "layer", [Line("mine", "line0", [0], [GONE])], told)["any"]
    assert curve_chart("t", "layer", [Line("mine", "line0", [3], [value(0.5)])], told)["any"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_names_of_levels_stand_apart_in_their_order_and_within_the_drawing(levels: list[float]) -> None:
    height = 230.0
    line = Line("mine", "line0", [0, 1], [value(0.5), value(0.5)])
    chart = curve_chart("t", "layer", [line], told, levels=[Level(str(each), each) for each in levels], height=height, beside=100)
    found = sorted((level["y"], level["name_y"]) for level in chart["levels"])
    names = sorted(name for _, name in found)
    assert all(below - above >= APART - 0.11 for above, below in pairwise(names))
    assert names[-1] <= height + APART / 2
    assert names[0] >= -APART
    ys = [y for y, _ in found]
    if all(below - above >= APART for above, below in pairwise(ys)):
        assert [name for _, name in found] == pytest.approx(ys)
