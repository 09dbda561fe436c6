"""The online code against a naive loop, and where its length is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from analyzers.probes.classifiers import Classifier
from analyzers.probes.mdl import SHARES, block_ends, online_code


def compression(bits: np.ndarray, classes: int) -> float:
    """How many times shorter than a uniform code."""
    return float(len(bits) * np.log2(classes) / bits.sum())


def test_the_code_is_that_of_a_loop_over_blocks() -> None:
    """With scikit-learn's own scaling and regression, from the first block in which every class has trained."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 5))
    y = (x[:, 0] + rng.standard_normal(1000) > 0).astype(np.int64) + (x[:, 1] > 1)
    bits = online_code("logistic", x, y, classes=3, strength=0.1)
    assert bits[0] == np.log2(3)
    for start, end in ((32, 62), (125, 250), (250, 500), (500, 1000)):
        scaler = StandardScaler().fit(x[:start])
        model = LogisticRegression(C=0.1, tol=1e-6).fit(scaler.transform(x[:start]), y[:start])
        assert set(y[:start]) == {0, 1, 2}
        p = model.predict_proba(scaler.transform(x[start:end]))[np.arange(end - start), y[start:end]]
        assert bits[start:end] == pytest.approx(-np.log2(p), abs=0.05)


def test_blocks_are_those_of_the_paper() -> None:
    assert block_ends(100_000) == [100, 200, 400, 800, 1600, 3200, 6250, 12_500, 25_000, 50_000, 100_000]
    assert len(SHARES) == 11


@given(rows=st.integers(1, 3000))
def test_every_row_is_in_one_block(rows: int) -> None:
    ends = block_ends(rows)
    assert ends == sorted(set(ends))
    assert ends[-1] == rows
    assert ends[0] >= 1


@given(rows=st.integers(2, 2000), classes=st.integers(2, 20))
def test_a_probe_that_knows_nothing_compresses_nothing_and_one_that_knows_all_leaves_the_first_block(rows: int, classes: int) -> None:
    x = np.random.default_rng(rows).integers(classes, size=(rows, 1)).astype(np.float64)
    y = x[:, 0].astype(np.int64)

    def ignorant(states: np.ndarray, labels: np.ndarray) -> Classifier:
        return Classifier(lambda new: np.full((len(new), classes), -np.log(classes)), np.arange(classes), classes, len(labels))

    def knowing(states: np.ndarray, labels: np.ndarray) -> Classifier:
        return Classifier(lambda new: np.where(new == np.arange(classes), 0.0, -np.inf), np.arange(classes), classes, len(labels))

    assert compression(online_code("logistic", x, y, classes=classes, train=ignorant), classes) == pytest.approx(1)
    assert compression(online_code("logistic", x, y, classes=classes, train=knowing), classes) == pytest.approx(rows / block_ends(rows)[0])


def test_noise_is_not_compressed_and_planted_labels_are() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=2000)
    noise = rng.standard_normal((2000, 8))
    planted = np.eye(8)[y] + 0.05 * noise
    assert compression(online_code("logistic", noise, y, classes=4, strength=1e-3), 4) < 1.02
    assert compression(online_code("logistic", planted, y, classes=4), 4) > 10
