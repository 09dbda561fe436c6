"""Ridge regression of states: scikit-learn's choice and weights, planted maps, noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from analyzers.probes.ridge import ALPHAS, Scale, fit_network, fit_ridge


def standard(rows: np.ndarray) -> np.ndarray:
    return np.asarray(StandardScaler().fit_transform(rows))


def test_rows_are_standardised_by_those_that_are_fitted_and_come_back() -> None:
    fitted = np.random.default_rng(0).normal(size=(50, 3)) * [2, 5, 0] + [1, -3, 8]
    scale = Scale.of(fitted)
    np.testing.assert_allclose(scale.standard(fitted)[:, :2], standard(fitted)[:, :2])
    assert scale.standard(fitted).std(axis=0) == pytest.approx([1, 1, 0])
    assert scale.standard(fitted + fitted.std(axis=0)).mean(axis=0) == pytest.approx([1, 1, 0])
    np.testing.assert_allclose(scale.back(scale.standard(fitted[:7])), fitted[:7])


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(5, 60), features=st.integers(1, 60), targets=st.integers(1, 3), noise=st.floats(0, 20), seed=st.integers(0, 99))
def test_it_chooses_and_predicts_as_ridge_cv_does(rows: int, features: int, targets: int, noise: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)) * rng.uniform(0.1, 10, features) + rng.normal(size=features)
    y = x[:, :1] * rng.normal(size=targets) + rng.normal(scale=1 + noise, size=(rows, targets)) + 40
    new = rng.normal(size=(7, features))
    theirs = RidgeCV(alphas=ALPHAS).fit(standard(x), standard(y))
    ours = fit_ridge(x, y)
    assert ours.alpha == pytest.approx(float(theirs.alpha_))
    predicted = theirs.predict((new - x.mean(0)) / x.std(0)).reshape(7, targets) * y.std(0) + y.mean(0)
    np.testing.assert_allclose(ours.predict(new), predicted, rtol=1e-5, atol=1e-6)


def test_the_error_by_which_it_chooses_is_that_of_models_fitted_without_each_row() -> None:
    rng = np.random.default_rng(0)
    x, alphas = rng.normal(size=(12, 4)), np.array([0.1, 3.0, 500.0])
    x -= x.mean(0)
    y = x[:, :1] + rng.normal(size=(12, 1))
    y = standard(y)
    errors = []
    for alpha in alphas:
        squares = []
        for left in range(12):
            rest = np.arange(12) != left
            mean_x, mean_y = x[rest].mean(0), y[rest].mean(0)
            a, b = x[rest] - mean_x, y[rest] - mean_y
            weights = np.linalg.solve(a.T @ a + alpha * np.eye(4), a.T @ b)
            squares.append(((y[left] - mean_y - (x[left] - mean_x) @ weights) ** 2).item())
        errors.append(np.mean(squares))
    assert fit_ridge(x, y, alphas=alphas, scaled=False).alpha == alphas[int(np.argmin(errors))]
    assert len(set(errors)) == 3


def test_a_planted_map_comes_back_whatever_its_units() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(900, 12)) * rng.uniform(0.01, 100, 12) + 5
    planted = rng.normal(size=(2, 12)) / x.std(0)
    y = x @ planted.T * [90, 180] + [3, -7]
    found = fit_ridge(x[:800], y[:800], alphas=np.array([1e-6]))
    np.testing.assert_allclose(found.weights, planted * [[90], [180]], rtol=1e-5)
    assert r2_score(y[800:], fit_ridge(x[:800], y[:800]).predict(x[800:])) > 0.999


def test_noise_is_not_learnt() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(1000, 40)), rng.normal(size=(1000, 2))
    assert r2_score(y[800:], fit_ridge(x[:800], y[:800]).predict(x[800:])) < 0.02


def test_features_that_do_not_vary_and_are_alike_do_no_harm() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 3))
    y = x[:, :1]
    twice = np.column_stack([x, x, np.full(50, 7.0), np.zeros(50)])
    found = fit_ridge(twice, y)
    assert found.weights[0, 6:].tolist() == [0, 0]
    np.testing.assert_allclose(found.weights[0, :3], found.weights[0, 3:6], atol=1e-9)
    np.testing.assert_allclose(fit_ridge(x, np.full((50, 1), 4.0)).predict(x), 4.0)
    np.testing.assert_allclose(fit_ridge(np.ones((50, 2)), y).predict(np.ones((2, 2))), y.mean())


def test_the_network_learns_what_is_not_linear_and_the_same_each_time() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1500, 3))
    y = np.column_stack([np.abs(x[:, 0]) * 100, x[:, 1] ** 2 - 5])
    linear, network = fit_ridge(x[:1200], y[:1200]), fit_network(x[:1200], y[:1200], seed=1)
    assert r2_score(y[1200:], linear.predict(x[1200:])) < 0.1
    assert r2_score(y[1200:], network.predict(x[1200:])) > 0.8
    np.testing.assert_array_equal(network.predict(x[:9]), fit_network(x[:1200], y[:1200], seed=1).predict(x[:9]))
    assert fit_network(x[:60], y[:60, :1]).predict(x[:5]).shape == (5, 1)


@pytest.mark.parametrize(("x", "y"), [([[1.0]], [[1.0]]), ([[1.0], [2.0]], [[1.0]]), ([[1.0], [np.nan]], [[1.0], [2.0]])])
def test_what_cannot_be_fitted_is_refused(x: list[list[float]], y: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"rows|finite"):
        fit_ridge(np.array(x), np.array(y))
