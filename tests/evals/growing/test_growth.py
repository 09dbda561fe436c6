"""Summaries of curves against closed forms and other implementations, and what noise alone must not show."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyzers.errors import Failed, RunFolderError
from evals.growing.growth import NOT_GROWN, area, monotonicity, place, step_at, summaries, t90, values
from evals.growing.tally import Better, Tally, counting
from evals.results import Failure, Value

STEPS = [0, 1, 3, 7, 15]
"""At places 0, 1, 2, 3, 4."""


def exact(curve: Sequence[float], *, units: int = 20, better: Better = "higher") -> list[Tally | Failed]:
    """Tallies whose units are all alike, so that nothing varies between draws."""
    return [Tally(np.full(units, 3 * value), np.full(units, 3.0), "sentences", "words", better) for value in curve]


def value(found: Value | Failure) -> float:
    assert isinstance(found, Value), found
    return found.value


def test_a_straight_line_over_log_steps() -> None:
    found = summaries(STEPS, exact([0, 0.25, 0.5, 0.75, 1]))
    assert value(found["grown"]) == pytest.approx(1)
    assert value(found["t90"]) == pytest.approx(2**3.6 - 1)
    assert value(found["area"]) == pytest.approx(0.5)
    assert value(found["monotonicity"]) == pytest.approx(1)
    assert found["forgetting"] == Value(value=0, low=0, high=0, n=20)
    for each in found.values():
        assert isinstance(each, Value)
        assert (each.low, each.high) == pytest.approx((each.value, each.value))
        assert each.n == 20


def test_a_step_up_and_forgetting() -> None:
    found = summaries(STEPS, exact([0.2, 0.2, 1.0, 0.8, 0.7]))
    assert value(found["grown"]) == pytest.approx(0.5)
    # 0.2 + 0.9 x 0.5 = 0.65, which lies at 0.45 / 0.8 of the way from place 1 to place 2.
    assert value(found["t90"]) == pytest.approx(2 ** (1 + 0.45 / 0.8) - 1)
    assert value(found["forgetting"]) == pytest.approx(0.3)
    assert value(found["area"]) == pytest.approx((0.2 / 2 + 0.2 + 1.0 + 0.8 + 0.7 / 2) / 4)


def test_what_is_better_lower_is_turned_over() -> None:
    higher = summaries(STEPS, exact([-8, -7, -5, -4, -4.5]))
    lower = summaries(STEPS, exact([8, 7, 5, 4, 4.5], better="lower"))
    for name in ("grown", "t90", "monotonicity", "forgetting"):
        assert value(lower[name]) == pytest.approx(value(higher[name]))
    assert value(lower["forgetting"]) == pytest.approx(0.5)
    assert value(lower["area"]) == pytest.approx(-value(higher["area"]))
    assert [value(each) for each in values(exact([8, 4], better="lower"))] == pytest.approx([8, 4])


def test_what_falls_or_stays_did_not_grow() -> None:
    for curve in ([0.5, 0.6, 0.5], [0.5, 0.4, 0.3]):
        found = summaries(STEPS[:3], exact(curve))
        assert isinstance(found["t90"], Failure)
        assert found["t90"].reason.startswith(NOT_GROWN)
        assert isinstance(found["area"], Value)
    level = summaries(STEPS, exact([0.5] * 5))
    assert isinstance(level["monotonicity"], Failure)


def test_checkpoints_that_failed() -> None:
    whole = exact([0, 0.25, 0.5, 0.75, 1])
    middle = [*whole[:2], Failed("probe", "not finite"), *whole[3:]]
    assert value(summaries(STEPS, middle)["t90"]) == pytest.approx(2**3.6 - 1)
    told = values(middle)
    assert isinstance(told[2], Failure)
    assert told[2].reason == "not finite"
    first = summaries(STEPS, [Failed("probe", "not finite"), *whole[1:]])
    assert all(
        isinstance(each, Failure) and each.reason == "the first checkpoint could not be measured: not finite" for each in first.values()
    )
    last = summaries(STEPS, [*whole[:-1], Failed("probe", "not finite")])
    assert all(isinstance(each, Failure) and "the last checkpoint" in each.reason for each in last.values())


curves = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=9)


@settings(max_examples=60, deadline=None)
@given(curves, st.data())
def test_summaries_agree_with_other_implementations(heights: list[float], data: st.DataObject) -> None:
    steps = sorted(data.draw(st.sets(st.integers(0, 200_000), min_size=len(heights), max_size=len(heights))))
    at, curve = np.array(steps, np.float64), np.array(heights, np.float64)[None, :]
    where = np.log2(1 + at)
    assert area(at, curve)[0] == pytest.approx(np.trapezoid(heights, where) / (where[-1] - where[0]))
    if len(set(heights)) > 1:
        assert monotonicity(at, curve)[0] == pytest.approx(spearmanr(steps, heights).statistic)
    rising = np.sort(curve, axis=1)
    if rising[0, -1] - rising[0, 0] > 1e-3:
        # Where a curve rises, its step at a height is found by reading it the other way round; level parts have many.
        distinct, first = np.unique(rising[0], return_index=True)
        wanted = rising[0, 0] + 0.9 * (rising[0, -1] - rising[0, 0])
        above = distinct.searchsorted(wanted - 1e-12)
        end = first[above]
        before = where[end - 1] if end else where[end]
        low, high = distinct[max(above - 1, 0)], distinct[above]
        told = 2 ** (before + (wanted - low) / (high - low) * (where[end] - before)) - 1
        assert t90(at, rising)[0] == pytest.approx(told, rel=1e-6, abs=1e-6)
    assert step_at(place(at)) == pytest.approx(at)


def test_intervals_are_paired_over_units() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(0, 1, 400)  # how easy a sentence is, at every checkpoint
    curve = [Tally(own + height, np.ones(400), "sentences", "words") for height in (0.0, 0.1, 0.2)]
    found = summaries([0, 10, 100], curve)
    single = values(curve)[0]
    assert isinstance(found["grown"], Value)
    assert isinstance(single, Value)
    assert found["grown"].low == pytest.approx(0.2) == found["grown"].high
    assert single.high - single.low > 0.15


def test_noise_is_not_forgotten_and_does_not_grow() -> None:
    rng = np.random.default_rng(1)
    forgotten = grew = 0
    for _ in range(60):
        level = [Tally((rng.random(80) < 0.5).astype(float), np.ones(80), "pairs", "pairs") for _ in range(9)]
        found = summaries([0, 1, 2, 4, 8, 16, 32, 64, 128], level)
        assert isinstance(found["forgetting"], Value)
        forgotten += found["forgetting"].low > 0
        grew += isinstance(found["t90"], Value)
    assert forgotten <= 6
    assert grew <= 6


def test_what_is_forgotten_is_seen() -> None:
    rng = np.random.default_rng(2)
    curve = [Tally((rng.random(300) < p).astype(float), np.ones(300), "facts", "facts") for p in (0.1, 0.5, 0.9, 0.6)]
    found = summaries([0, 10, 100, 1000], curve)["forgetting"]
    assert isinstance(found, Value)
    assert 0.1 < found.low < 0.3 < found.high < 0.5


def test_units_that_nothing_counts_are_left_out() -> None:
    of, among = np.array([1.0, 0, 0, 1]), np.array([1.0, 0, 1, 2])
    first, second = counting([Tally(of, among, "facts", "facts"), Failed("probe", "no")])
    assert isinstance(first, Tally)
    assert (first.of.tolist(), first.among.tolist()) == ([1, 0, 1], [1, 1, 2])
    assert second == Failed("probe", "no")
    assert value(values([first])[0]) == pytest.approx(2 / 4)
    ends = values([first])[0]
    assert isinstance(ends, Value)
    assert ends.n == 4


def test_tallies_are_kept_as_they_are() -> None:
    tally = Tally(np.array([0.1, 2.0]), np.array([1.0, 3.0]), "facts", "facts", "lower", 0.25, "a coin")
    again = Tally.from_json(tally.as_json())
    assert again.as_json() == tally.as_json()
    assert again.of.dtype == np.float64
    with pytest.raises(RunFolderError, match="damaged"):
        Tally.from_json({"of": [1.0]})
