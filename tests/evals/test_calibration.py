"""Calibrations against scikit-learn and numpy, as the published code uses them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.explanation import Scale
from analyzers.errors import Failed
from evals.calibration import CALIBRATIONS, Linear, Percentile, calibrated, fit_linear, fit_percentile
from evals.scores import Pairs, score


def pairs(truth: Any, prediction: Any, present: Any = None, scale: Scale = "level") -> Pairs:
    t, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    here = np.ones(len(t), bool) if present is None else np.asarray(present, bool)
    return Pairs(t, p, here, np.zeros(len(t), np.intp), np.zeros(1, np.intp), scale)


def levels(seed: int, n: int = 300) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    truth = np.maximum(rng.standard_t(3, n) - 1, 0) * 7
    return truth, np.clip(truth / 5 + rng.normal(1, 1, n), 0, 9)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_published_calibrations_on_other_tokens(seed: int) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score

    fit, (truth, simulated) = pairs(*levels(seed)), levels(seed + 100)
    linear, percentile = fit_linear(fit), fit_percentile(fit)
    assert isinstance(linear, Linear)
    assert isinstance(percentile, Percentile)
    expected_linear = LinearRegression().fit(fit.prediction[:, None], fit.truth).predict(simulated[:, None])
    expected_percentile = np.interp(simulated, np.sort(fit.prediction), np.sort(fit.truth))
    np.testing.assert_allclose(linear(simulated), expected_linear, atol=1e-10)
    np.testing.assert_array_equal(percentile(simulated), expected_percentile)
    test = pairs(truth, simulated)
    for calibration, expected in ((linear, expected_linear), (percentile, expected_percentile)):
        in_unit = calibrated(calibration, test)
        assert in_unit.scale == "activation"
        assert score("r2_centred", in_unit) == pytest.approx(r2_score(truth, expected))
        uncentred = 1 - np.mean((truth - expected) ** 2) / np.mean(truth**2)
        assert score("r2_uncentred", in_unit) == pytest.approx(uncentred)
        assert isinstance(score("r2_uncentred", test), Failed)


def test_missing_predictions_do_not_enter_the_fit() -> None:
    truth, simulated = levels(0)
    present = np.random.default_rng(0).random(len(truth)) < 0.5
    holes = pairs(truth, np.where(present, simulated, np.nan), present)
    some = pairs(truth[present], simulated[present])
    grid = np.linspace(-1, 10, 50)
    for fit in CALIBRATIONS.values():
        with_holes, without = fit(holes), fit(some)
        assert not isinstance(with_holes, Failed)
        assert not isinstance(without, Failed)
        np.testing.assert_allclose(with_holes(grid), without(grid))


def test_a_reversed_simulation_keeps_its_negative_slope() -> None:
    linear = fit_linear(pairs([0, 1, 2, 3], [9, 6, 3, 0]))
    assert isinstance(linear, Linear)
    assert (linear.slope, linear.intercept) == pytest.approx((-1 / 3, 3))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 9)), min_size=3, max_size=60))
def test_percentile_matching_is_monotone_and_stays_in_the_range_of_the_truth(rows: list[tuple[int, int]]) -> None:
    truth, simulated = np.array(rows, float).T
    percentile = fit_percentile(pairs(truth, simulated))
    if isinstance(percentile, Failed):
        assert np.ptp(truth) == 0 or np.ptp(simulated) == 0
        return
    out = percentile(np.linspace(-5, 15, 200))
    assert (np.diff(out) >= -1e-9).all()
    assert (out.min(), out.max()) >= (truth.min(), truth.min())
    assert out[-1] == truth.max()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 9)), min_size=3, max_size=60))
def test_no_other_line_is_closer(rows: list[tuple[int, int]]) -> None:
    truth, simulated = np.array(rows, float).T
    linear = fit_linear(pairs(truth, simulated))
    if isinstance(linear, Failed):
        return

    def squared_error(slope: float, intercept: float) -> float:
        return float(((slope * simulated + intercept - truth) ** 2).sum())

    best = squared_error(linear.slope, linear.intercept)
    for step in (0.01, -0.01):
        assert best <= squared_error(linear.slope + step, linear.intercept) + 1e-9
        assert best <= squared_error(linear.slope, linear.intercept + step) + 1e-9


@pytest.mark.parametrize("fit", CALIBRATIONS.values())
@pytest.mark.parametrize(
    ("truth", "simulated", "present", "reason"),
    [
        ([0, 0, 0], [1, 2, 3], None, "truth is constant"),
        ([1, 2, 3], [4, 4, 4], None, "simulation is constant"),
        ([1, 2, 3], [4, 5, 6], [False] * 3, "no prediction"),
        ([1, 2, 3], [4, np.nan, 6], None, "not finite"),
    ],
)
def test_a_degenerate_fit_is_failed(fit: Any, truth: list[float], simulated: list[float], present: Any, reason: str) -> None:
    result = fit(pairs(truth, simulated, present))
    assert isinstance(result, Failed)
    assert result.stage == "calibrate"
    assert reason in result.reason
