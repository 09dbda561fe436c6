"""Detectors on planted directions, on noise, and against closed forms and other libraries."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from analyzers.errors import Failed
from analyzers.probes.truth import KINDS, LEAST_EIGENVALUE, Detector, Kind, fit

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Planted = tuple[Floats, Flags, tuple[Floats, Floats]]

WIDTH = 24


def planted(rows: int, seed: int, strength: float = 6.0) -> Planted:
    """States with a direction of truth, and pairs of statements and their negations, which lie off by a vector of their own."""
    rng = np.random.default_rng(seed)
    theta, offset, denial = (np.random.default_rng(99).normal(size=(3, WIDTH)) / np.sqrt(WIDTH)) * np.array([[strength], [3], [2]])
    y = rng.random(rows) < 0.5
    x, denied = offset + 0.3 * rng.normal(size=(2, rows, WIDTH))
    sign = np.where(y, 1.0, -1.0)[:, None]
    return x + sign * theta, y, (x + sign * theta, denied + denial - sign * theta)


def trained(kind: Kind, data: Planted, seed: int = 0) -> Detector:
    found = fit(kind, data[0], data[1], seed=seed, pairs=data[2])
    assert isinstance(found, Detector), found
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_direction_is_found_without_an_error(kind: Kind) -> None:
    detector = trained(kind, planted(400, 0))
    x, y, _ = planted(300, 1)
    assert np.array_equal(detector.score(x) > 0, y)
    assert np.allclose(detector.probability(x), 1 / (1 + np.exp(-detector.score(x))))
    again = trained(kind, planted(400, 0))
    assert np.array_equal(again.score(x), detector.score(x))
    direction = detector.direction
    assert (direction is None) == (kind == "saplma")
    if direction is not None:
        theta = np.random.default_rng(99).normal(size=(3, WIDTH))[0]
        assert direction @ theta > 0
        # The log-odds grow along it as they are said to.
        step = detector.score(x + direction) - detector.score(x)
        assert np.allclose(step, direction @ direction)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_not_told_apart(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    data = (rng.normal(size=(300, WIDTH)), rng.random(300) < 0.5, (rng.normal(size=(100, WIDTH)), rng.normal(size=(100, WIDTH))))
    x, y = rng.normal(size=(2000, WIDTH)), rng.random(2000) < 0.5
    # The standard deviation of an AUROC of noise is .013 here.
    assert roc_auc_score(y, trained(kind, data).score(x)) == pytest.approx(0.5, abs=0.052)


def test_logistic_regression_is_that_of_standardised_states() -> None:
    x, y, _ = planted(200, 5, strength=0.5)
    x[:, 3] = 1e6 + 1e3 * x[:, 3]
    scaler = StandardScaler().fit(x)
    expected = LogisticRegression(C=0.3, tol=1e-8, max_iter=10_000).fit(scaler.transform(x), y)
    found = fit("logistic", x, y, seed=0, c=0.3)
    assert isinstance(found, Detector)
    assert found.score(x) == pytest.approx(expected.decision_function(scaler.transform(x)), abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(6, 60))
def test_mass_means_are_the_closed_forms(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 5)) @ rng.normal(size=(5, 5)), np.arange(rows) % 2 == 0
    difference = x[y].mean(0) - x[~y].mean(0)
    kinds: tuple[Kind, ...] = ("mass-mean", "mass-mean-iid")
    for kind in kinds:
        expected = difference
        found = fit(kind, x, y, seed=0)
        assert isinstance(found, Detector)
        direction = found.direction
        assert direction is not None
        if kind == "mass-mean-iid":
            z = (x - x.mean(0)) / x.std(0)
            centred = np.concatenate([z[y] - z[y].mean(0), z[~y] - z[~y].mean(0)])
            covariance = centred.T @ centred / rows
            if np.linalg.eigvalsh(covariance).min() < 2 * LEAST_EIGENVALUE:
                continue
            expected = np.linalg.solve(covariance, z[y].mean(0) - z[~y].mean(0)) / x.std(0)
        cosine = direction @ expected / np.linalg.norm(direction) / np.linalg.norm(expected)
        assert cosine == pytest.approx(1, abs=1e-6)


def test_mass_mean_is_calibrated_where_its_assumption_holds() -> None:
    """Two normal clouds of equal spread: the true log-odds are linear along the difference of means."""
    rng = np.random.default_rng(1)
    y = np.arange(4000) % 2 == 0
    x = rng.normal(size=(4000, 3)) + np.where(y, 0.7, -0.7)[:, None] * np.array([1.0, 0, 0])
    found = fit("mass-mean", x, y, seed=0)
    assert isinstance(found, Detector)
    assert np.abs(found.score(x) - 1.4 * x[:, 0]).mean() < 0.15


def test_ccs_learns_without_labels_but_for_the_sign() -> None:
    x, y, pairs = planted(300, 0)
    one, other = (fit("ccs", x, labels, seed=0, pairs=pairs) for labels in (y, ~y))
    assert isinstance(one, Detector)
    assert isinstance(other, Detector)
    assert np.array_equal(one.score(x), -other.score(x))


def test_what_cannot_be_trained_has_a_reason() -> None:
    x, y, pairs = planted(20, 0)
    assert fit("ccs", x, y, seed=0) == Failed(
        "train",
        "CCS is trained on pairs of a statement and its negation, and fewer than two pairs are left; give negations of more topics",
    )
    assert isinstance(fit("ccs", x, y, seed=0, pairs=(pairs[0][:1], pairs[1][:1])), Failed)
    for kind in KINDS:
        failed = fit(kind, x, np.ones(20, np.bool_), seed=0, pairs=pairs)
        assert isinstance(failed, Failed)
        assert "20 of 20 are true" in failed.reason


def test_states_that_do_not_vary_do_no_harm() -> None:
    x, y, pairs = planted(200, 0)
    x[:, 0], pairs[0][:, 0], pairs[1][:, 0] = 5.0, 5.0, 5.0
    for kind in KINDS:
        assert np.array_equal(trained(kind, (x, y, pairs)).score(x) > 0, y), kind
