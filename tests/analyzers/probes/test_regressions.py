"""Regressions that are trained together against scikit-learn, which trains each alone to the last digit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from analyzers.probes.regressions import MOVED, regressions


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.sampled_from([1, 20, 50_000_000]))
def test_each_is_that_of_its_own_rows_labels_and_penalty(seed: int, fits: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(90, 6)) @ rng.normal(size=(6, 6))).astype(np.float32)
    x[:, 2] = 1000 + 300 * x[:, 2]
    rows = rng.random((fits, 90)) < 0.7
    y = rng.random((fits, 90)) < 0.5
    c = rng.choice([1e-4, 1e-2, 1.0], fits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analyzers.probes.regressions._CELLS", cells)
        found = regressions(x, y, rows, c)
    for weights, intercept, mean, scale, own, labels, strength in zip(*found, rows, y, c, strict=True):
        trained = x[own].astype(np.float64)
        assert mean == pytest.approx(trained.mean(0), rel=1e-9, abs=1e-9)
        assert scale == pytest.approx(trained.std(0), rel=1e-6)
        expected = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-9).fit((trained - mean) / scale, labels[own])
        z = (x - mean) / scale
        assert z @ weights + intercept == pytest.approx(expected.decision_function(z), abs=20 * MOVED)


def test_what_falls_apart_is_told_apart_and_not_without_end() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2 == 0
    x = np.where(y, 1.0, -1.0)[:, None] + 0.1 * rng.normal(size=(60, 200))
    weights, intercepts, mean, scale = regressions(x, y[None], np.ones((1, 60), np.bool_), np.array([1.0]))
    assert np.array_equal((x - mean[0]) / scale[0] @ weights[0] + intercepts[0] > 0, y)
    assert np.isfinite(weights).all()


def test_a_state_that_varies_only_in_rows_that_do_not_train_has_no_weight() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 5)), rng.random((1, 80)) < 0.5
    rows = np.arange(80)[None] < 60
    x[:60, 1] = 0.1
    weights, _, _, scale = regressions(x.astype(np.float32), y, rows, np.array([0.1]))
    assert scale[0, 1] == 1
    assert weights[0, 1] == pytest.approx(0, abs=1e-6)


def test_none_depends_on_which_others_are_trained_beside_it() -> None:
    rng = np.random.default_rng(2)
    x, rows = rng.normal(size=(120, 8)), np.arange(120) % 3 != np.arange(3)[:, None]
    one = rng.random(120) < 0.5
    others = [np.stack([one, rng.random(120) < share, x[:, 0] > 0]) for share in (0.1, 0.5)]
    first, second = (regressions(x, y, rows, np.array([0.1, 0.1, 10.0])) for y in others)
    assert np.array_equal(first[0][0], second[0][0])
    assert not np.array_equal(first[0][1], second[0][1])
