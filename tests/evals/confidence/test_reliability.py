"""Bins against naive loops, Wilson's interval against scipy, and the ECE over the diagram's rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from analyzers.errors import Failed
from evals.confidence.measures import measure
from evals.confidence.reliability import BINS, PER_BIN, Bin, Reliability, reliability, wilson

twentieths = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=120)


def ece(bins: list[Bin]) -> float:
    return sum(row.accuracy.n * abs(row.accuracy.value - row.mean_confidence) for row in bins) / sum(row.accuracy.n for row in bins)


@settings(deadline=None, max_examples=60)
@given(twentieths)
def test_rows_by_naive_loops(items: list[tuple[int, bool]]) -> None:
    found = reliability([level / 20 for level, _ in items], [hit for _, hit in items])
    rows = iter(found.equal_width)
    for tenth in range(BINS):
        inside = [(level, hit) for level, hit in items if 2 * tenth <= level < 2 * tenth + 2 or (tenth == BINS - 1 and level == 20)]
        if inside:
            row = next(rows)
            assert (row.lower, row.upper) == pytest.approx((tenth / 10, (tenth + 1) / 10))
            assert row.accuracy.n == len(inside)
            assert row.mean_confidence == pytest.approx(np.mean([level / 20 for level, _ in inside]))
            assert row.accuracy.value == pytest.approx(np.mean([hit for _, hit in inside]))
    assert next(rows, None) is None
    histogram = {round(20 * row.confidence): (row.n, row.n_correct) for row in found.histogram}
    assert histogram == {
        level: (sum(other == level for other, _ in items), sum(other == level and hit for other, hit in items)) for level, _ in items
    }
    assert list(histogram) == sorted(histogram)


@settings(deadline=None, max_examples=60)
@given(twentieths)
def test_equal_mass_bins_part_the_items_and_no_ties(items: list[tuple[int, bool]]) -> None:
    found = reliability([level / 20 for level, _ in items], [hit for _, hit in items])
    assert sum(row.accuracy.n for row in found.equal_mass) == len(items)
    assert len(found.equal_mass) <= max(1, min(BINS, len(items) // PER_BIN))
    for row, following in zip(found.equal_mass, found.equal_mass[1:], strict=False):
        assert row.lower <= row.upper < following.lower <= following.upper
    for row in found.equal_mass:
        inside = [hit for level, hit in items if row.lower <= level / 20 <= row.upper]
        assert row.accuracy.n == len(inside)
        assert row.accuracy.value == pytest.approx(np.mean(inside))


@pytest.mark.parametrize(("n", "sizes"), [(100, [10] * 10), (200, [20] * 10), (20, [5] * 4), (9, [9]), (4, [4])])
def test_equal_mass_bins_of_different_values_are_of_one_size(n: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    found = reliability(rng.permutation(n) / n, rng.random(n) < 0.5)
    assert [row.accuracy.n for row in found.equal_mass] == sizes


def test_a_value_that_most_items_share_has_a_bin_of_its_own() -> None:
    found = reliability([0.2] * 10 + [0.9] * 80 + [1.0] * 10, [True] * 100)
    assert [(row.lower, row.upper, row.accuracy.n) for row in found.equal_mass] == [(0.2, 0.2, 10), (0.9, 0.9, 80), (1.0, 1.0, 10)]
    assert [(row.lower, row.upper, row.accuracy.n) for row in found.equal_width] == [(0.2, 0.3, 10), (0.9, 1.0, 90)]
    # Four bins of 20 items: the middles of the three values lie in the first, second and fourth quarter.
    found = reliability([0.2] * 3 + [0.5] * 10 + [0.9] * 7, [True] * 20)
    assert [row.accuracy.n for row in found.equal_mass] == [3, 10, 7]


@settings(deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_as_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    found = wilson(*counts)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found[0] <= counts[0] / counts[1] <= found[1] <= 1


def test_the_ece_is_that_over_the_rows() -> None:
    rng = np.random.default_rng(1)
    for n in (7, 30, 200):
        x, right = rng.integers(0, 101, n) / 100, rng.random(n) < 0.6
        rows, found = reliability(x, right), measure(x, right, seed=0, draws=20)
        for bins, name in ((rows.equal_width, "ece"), (rows.equal_mass, "ece_equal_mass")):
            value = found[name]
            assert not isinstance(value, Failed)
            assert value.value == pytest.approx(ece(bins))


def test_it_can_be_stored() -> None:
    found = reliability([0.3, 0.9, 0.9], [False, True, False])
    assert Reliability.model_validate_json(found.model_dump_json()) == found
    assert reliability([], []) == Reliability(equal_width=[], equal_mass=[], histogram=[])


def test_items_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        reliability([95.0], [True])
    with pytest.raises(ValueError, match="same items"):
        reliability([0.5, 0.6], [True])
