"""Probes of labels against scikit-learn's own pipeline, and where classes are missing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_info, threadpool_limits

from analyzers.probes import classifiers
from analyzers.probes.classifiers import KINDS, STRENGTHS, Kind, choose, fit


def planted(rows: int, width: int, classes: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States [row, width] that lie around a centre for each class, in units that differ by feature."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=rows)
    centres = np.random.default_rng(99).standard_normal((classes, width))
    x = centres[y] + noise * rng.standard_normal((rows, width))
    return (5 + x * np.geomspace(0.01, 100, width)).astype(np.float32), y


@pytest.mark.parametrize("classes", [2, 5])
def test_logistic_regression_is_that_of_a_pipeline(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    monkeypatch.setattr(classifiers, "TOLERANCE", 1e-6)
    (x, y), (new, _) = planted(300, 8, classes, noise=1.0), planted(100, 8, classes, noise=1.0, seed=1)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-6, max_iter=1000)).fit(x.astype(np.float64), y)
    probe = fit("logistic", x, y, classes=classes, strength=0.1)
    assert np.abs(probe.log_probabilities(new) - pipeline.predict_log_proba(new.astype(np.float64))).max() < 1e-2
    assert (probe.predict(new) == pipeline.predict(new)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_planted_classes_are_found_and_noise_is_not(kind: Kind) -> None:
    (x, y), (new, truth) = planted(400, 16, 4, noise=0.1), planted(200, 16, 4, noise=0.1, seed=1)
    assert np.mean(fit(kind, x, y, classes=4).predict(new) == truth) == 1
    noise = np.random.default_rng(0).standard_normal((600, 16))
    assert abs(np.mean(fit(kind, noise[:400], y, classes=4).predict(noise[400:]) == truth) - 0.25) < 4 * (0.25 * 0.75 / 200) ** 0.5


def test_a_hidden_layer_reads_what_no_line_separates() -> None:
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], size=(600, 2)) + 0.1 * rng.standard_normal((600, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    right = {kind: np.mean(fit(kind, x[:400], y[:400], classes=2).predict(x[400:]) == y[400:]) for kind in KINDS}
    assert right["mlp"] > 0.95
    assert right["logistic"] < 0.7


@given(seed=st.integers(0, 2**16), rows=st.integers(1, 30), classes=st.integers(1, 6), kind=st.sampled_from(KINDS))
@settings(max_examples=25, deadline=None)
def test_probabilities_are_of_all_classes_whichever_trained(seed: int, rows: int, classes: int, kind: Kind) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((rows, 3)), rng.integers(classes, size=rows)
    probe = fit(kind, x, y, classes=classes, seed=seed)
    new = rng.standard_normal((7, 3))
    p = np.exp(probe.log_probabilities(new))
    assert p.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    unseen = np.setdiff1d(np.arange(classes), y)
    assert p[:, unseen] == pytest.approx(np.full((7, len(unseen)), 1 / (rows + len(unseen))))
    assert np.isin(probe.predict(new), y).all()


def test_a_rare_class_and_a_constant_feature_are_no_trouble() -> None:
    x, y = planted(60, 4, 2, noise=0.1)
    x[:, 1] = 3
    y[7] = 2
    for kind in KINDS:
        assert np.isfinite(fit(kind, x, y, classes=3).log_probabilities(x)).all()


@pytest.mark.parametrize(("rows", "noise", "expected"), [(120, 0.05, 1.0), (120, 3.0, 0.1), (120, 20.0, 0.01), (20, 1e4, 0.001)])
def test_the_strength_is_the_one_whose_probabilities_fit_best(rows: int, noise: float, expected: float) -> None:
    (x, y), (held, truth) = planted(rows, 40, 3, noise=noise), planted(60, 40, 3, noise=noise, seed=1)
    losses, right = [], []
    for strength in STRENGTHS:
        probe = fit("logistic", x, y, classes=3, strength=strength)
        losses.append(log_loss(truth, np.exp(probe.log_probabilities(held)), labels=[0, 1, 2]))
        right.append(float(np.mean(probe.predict(held) == truth)))
    best = int(np.argmin(losses))
    choice = choose("logistic", x, y, held, truth, classes=3)
    assert (choice.strength, choice.accuracy) == (STRENGTHS[best], pytest.approx(right[best]))
    assert choice.strength == expected


@pytest.mark.parametrize("kind", KINDS)
def test_with_one_class_nothing_is_learnt(kind: Kind) -> None:
    x = np.zeros((4, 2), np.float32)
    assert choose(kind, x, np.ones(4, np.int64), x, np.array([1, 0, 1, 1]), classes=2).accuracy == 0.75
    assert fit(kind, x, np.ones(4, np.int64), classes=2).predict(x).tolist() == [1] * 4


def test_the_same_seed_gives_the_same_probe() -> None:
    x, y = planted(80, 6, 3, noise=1.0)
    for kind in KINDS:
        one, other = (fit(kind, x, y, classes=3, seed=5).log_probabilities(x) for _ in range(2))
        assert (one == other).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_computes_on_one_thread(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two it takes several times as long where the machine has other work, too."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    model, step = {"logistic": (LogisticRegression, "fit"), "mlp": (MLPClassifier, "partial_fit")}[kind]
    real, seen = getattr(model, step), []

    def noted(*given: Any, **named: Any) -> Any:
        seen.append({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
        return real(*given, **named)

    monkeypatch.setattr(model, step, noted)
    with threadpool_limits(2, user_api="blas"):
        fit(kind, *planted(30, 3, 2, noise=0.1), classes=2)
    assert seen
    assert all(threads == {1} for threads in seen)


@pytest.mark.parametrize(
    ("kind", "rows", "labels", "told"),
    [
        ("svm", 2, [0, 1], "no probe is called"),
        ("logistic", 0, [], "0 states"),
        ("logistic", 2, [0], "with 1 labels"),
        ("mlp", 1, [3], "classes 3"),
    ],
)
def test_what_cannot_be_trained_is_refused(kind: Kind, rows: int, labels: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit(kind, np.zeros((rows, 2)), np.array(labels, np.int64), classes=2)
