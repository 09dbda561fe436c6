"""Regression from hidden states to numbers: ridge, whose penalty leave-one-out chooses, and a small network to see what is not linear.

Source: Gurnee & Tegmark 2023, arXiv 2310.02207, section 2.3 and appendix. All penalties share one eigendecomposition of the smaller
of the two Gram matrices, which gives the choice of scikit-learn's RidgeCV more than ten times as fast.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]
"""[row, feature], of any precision."""

ALPHAS: Floats = np.logspace(0.8, 4.1, 12)
"""Penalties on standardised features and targets, as in the paper."""
HIDDEN = 64
"""Neurons of the small network."""
_NOTHING = 1e-10
"""Share of the largest eigenvalue below which a direction is rounding."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear map from states to targets."""

    weights: Floats
    """[target, feature] of states as they are, in units of the target."""
    intercept: Floats
    """[target]"""
    alpha: float
    """The penalty that was chosen."""

    def predict(self, states: Rows) -> Floats:
        """[row, target]"""
        predicted: Floats = np.asarray(states, np.float64) @ self.weights.T + self.intercept
        return predicted


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and deviation of columns, by which rows become standard and come back."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, rows: Floats, *, scaled: bool = True) -> "Scale":
        """A column that does not vary is left at its size; not scaled, all are."""
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        varies = deviation > 1e-9 * np.abs(rows).max(axis=0)
        return cls(mean, np.where(varies, deviation, 1.0) if scaled else np.ones_like(mean))

    def standard(self, rows: Floats) -> Floats:
        """Rows in deviations from the mean."""
        scaled: Floats = (rows - self.mean) / self.deviation
        return scaled

    def back(self, rows: Floats) -> Floats:
        """Standard rows as they were."""
        raw: Floats = rows * self.deviation + self.mean
        return raw


def fit_ridge(states: Rows, targets: Rows, *, alphas: Floats = ALPHAS, scaled: bool = True) -> Ridge:
    """Ridge on standardised targets with the penalty of least squared leave-one-out error, one for all targets.

    states [row, feature], targets [row, target]. scaled: whether features are standardised too, or only centred. Raises ValueError for
    fewer than two rows and for values that are not finite.
    """
    x, y = _checked(states, targets)
    inputs, outputs = Scale.of(x, scaled=scaled), Scale.of(y)
    x, y = inputs.standard(x), outputs.standard(y)
    projected, values, vectors = _components(x)
    on_components = projected.T @ y
    # [row, alpha] how much of a row's prediction is its own target; the intercept takes 1 / n of it
    own = projected**2 @ (1 / (values[:, None] + alphas)) + 1 / len(x)
    errors = []
    for number, alpha in enumerate(alphas):
        residual = y - projected @ (on_components / (values + alpha)[:, None])
        errors.append(float(np.mean((residual / (1 - own[:, number, None])) ** 2)))
    alpha = float(alphas[int(np.argmin(errors))])
    standard = vectors @ (on_components / (values + alpha)[:, None])
    weights = (standard * outputs.deviation / inputs.deviation[:, None]).T
    return Ridge(weights, outputs.mean - weights @ inputs.mean, alpha)


@dataclass(frozen=True, eq=False)
class Network:
    """A network of one hidden layer from states to targets."""

    inputs: Scale
    outputs: Scale
    fitted: Any

    def predict(self, states: Rows) -> Floats:
        """[row, target]"""
        found = np.asarray(self.fitted.predict(self.inputs.standard(np.asarray(states, np.float64))), np.float64)
        return self.outputs.back(found.reshape(len(found), -1))


def fit_network(states: Rows, targets: Rows, *, seed: int = 0, hidden: int = HIDDEN) -> Network:
    """A multilayer perceptron on standardised states and targets, stopped where a drawn tenth of the rows is predicted no better.

    As `fit_ridge`; ValueError for fewer than 20 rows.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    x, y = _checked(states, targets, least=20)
    inputs, outputs = Scale.of(x), Scale.of(y)
    network = MLPRegressor(hidden_layer_sizes=(hidden,), alpha=0.1, early_stopping=True, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is still getting better after so many rounds is good enough
        wanted = outputs.standard(y)
        network.fit(inputs.standard(x), wanted[:, 0] if wanted.shape[1] == 1 else wanted)
    return Network(inputs, outputs, network)


def _checked(states: Rows, targets: Rows, least: int = 2) -> tuple[Floats, Floats]:
    x, y = np.asarray(states, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"states {x.shape} and targets {y.shape} are not [row, feature] and [row, target] of the same rows")
    if len(x) < least:
        raise ValueError(f"a probe of {len(x)} rows; it needs {least}")
    if not np.isfinite(x).all() or not np.isfinite(y).all():
        raise ValueError("states or targets are not finite")
    return x, y


def _components(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Centred rows on their principal components [row, component], squared lengths [component], the components [feature, component]."""
    rows, features = x.shape
    if rows > features:
        values, vectors = np.linalg.eigh(x.T @ x)
        kept = values > _NOTHING * max(values[-1], 0)
        return x @ vectors[:, kept], values[kept], vectors[:, kept]
    values, sides = np.linalg.eigh(x @ x.T)
    kept = values > _NOTHING * max(values[-1], 0)
    lengths = np.sqrt(values[kept])
    return sides[:, kept] * lengths, values[kept], x.T @ sides[:, kept] / lengths
