"""Classifiers that read a label from a hidden state: logistic regression, and a perceptron with one hidden layer.

Features are standardised by the rows that train. Classes are numbers from 0 on; one that no training row has is never predicted and
still has a probability, so that a code can name it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from analyzers.probes.scaling import Scaling
from analyzers.threads import one_blas_thread

Kind = Literal["logistic", "mlp"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]
"""[row] the number of a class."""

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""C of scikit-learn's logistic regression, from the strongest regularisation on."""
FIRST = 1
"""Number of the strength that is tried first."""
HIDDEN = 50
"""Units of the hidden layer, as in SentEval's classifier."""
TOLERANCE = 1e-3
"""Of lbfgs: with a smaller one accuracy stays the same, and the fit takes up to three times as long."""
MOST_STEPS = 100
"""Of lbfgs, of which middle layers would take some hundreds; their accuracy on new rows stays within half a percent."""
EPOCHS, PATIENCE = 100, 5
"""Passes over the rows of a perceptron at most, and those without an improvement after which it stops."""
HELD_OUT = 0.1
"""Share of the rows by which a perceptron tells when to stop."""
_FEW = 20
_FEW_EPOCHS = 20


@dataclass(frozen=True)
class Classifier:
    """A trained probe."""

    logits: Callable[[Floats], Floats]
    """States [row, width] -> log-probabilities [row, class] among the classes of the training rows."""
    seen: Classes
    """[class] the classes of the training rows, ascending."""
    classes: int
    rows: int
    """Rows that trained."""

    def predict(self, x: Floats) -> Classes:
        """[row] the most probable class of states [row, width]."""
        found: Classes = self.seen[self.logits(x).argmax(axis=1)]
        return found

    def log_probabilities(self, x: Floats) -> Floats:
        """Natural logarithms [row, class] over all classes, summing to probability 1.

        The u classes that no training row has share u / (rows + u), as Laplace's rule of succession would give a new thing.
        """
        unseen = self.classes - len(self.seen)
        found = np.full((len(x), self.classes), -np.log(self.rows + unseen))
        found[:, self.seen] = self.logits(x) + np.log(self.rows / (self.rows + unseen))
        return found


@dataclass(frozen=True)
class Choice:
    """What held-out rows say of a way to train."""

    strength: float
    """C of the logistic regression; 1 for a perceptron, which stops early instead."""
    accuracy: float
    """On the held-out rows."""


def fit(kind: Kind, x: Floats, y: Classes, *, classes: int, seed: int = 0, strength: float = 1.0) -> Classifier:
    """Train on states [row, width] with their classes [row]; a class may be missing, and with a single one nothing is learnt.

    strength is the C of the logistic regression. Raises ValueError without rows, for a class outside the range and another kind.
    """
    _check(kind, x, y, classes)
    scale = Scaling.of(x)
    return _trained(kind, scale.apply(x), y, scale, classes, seed, strength)


def choose(kind: Kind, x: Floats, y: Classes, held: Floats, held_y: Classes, *, classes: int, seed: int = 0) -> Choice:
    """The strength whose probabilities fit held-out rows best, of STRENGTHS from the middle on while they get better, up or else down.

    Not by accuracy: where many are as accurate, the strongest would be taken, whose probabilities say little. Each begins anew, since one
    that began where another ended would stop there. held [row, width] with classes [row].
    """
    _check(kind, x, y, classes)
    _check(kind, held, held_y, classes)
    scale = Scaling.of(x)
    scaled = scale.apply(x)
    if kind == "mlp" or len(np.unique(y)) == 1:
        found = _trained(kind, scaled, y, scale, classes, seed, 1.0)
        return Choice(1.0, float(np.mean(found.predict(held) == held_y)))

    def tried(at: int) -> tuple[float, Choice]:
        found = _trained(kind, scaled, y, scale, classes, seed, STRENGTHS[at])
        told = found.log_probabilities(held)
        return -float(told[np.arange(len(held)), held_y].mean()), Choice(STRENGTHS[at], float(np.mean(found.predict(held) == held_y)))

    least, best = tried(FIRST)
    for way in (range(FIRST + 1, len(STRENGTHS)), range(FIRST - 1, -1, -1)):
        for at in way:
            loss, choice = tried(at)
            if loss >= least:
                break
            least, best = loss, choice
        if best.strength != STRENGTHS[FIRST]:
            break
    return best


def _check(kind: Kind, x: Floats, y: Classes, classes: int) -> None:
    if kind not in KINDS:
        raise ValueError(f"no probe is called {kind!r}; choose one of {', '.join(KINDS)}")
    if not len(x) or len(x) != len(y):
        raise ValueError(f"{len(x)} states with {len(y)} labels")
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(f"classes {y.min()} to {y.max()} where there are {classes}")


def _trained(kind: Kind, scaled: Floats, y: Classes, scale: Scaling, classes: int, seed: int, strength: float) -> Classifier:
    seen = np.unique(y)
    if len(seen) == 1:
        return Classifier(lambda x: np.zeros((len(x), 1)), seen, classes, len(y))
    if kind == "logistic":
        model = _regression(seed, strength)
        with one_blas_thread():
            _quietly(model.fit, scaled, y)
        return Classifier(lambda x: _log_softmax(model.decision_function(scale.apply(x))), seen, classes, len(y))
    with one_blas_thread():
        network = _perceptron(scaled, y, seed)
    least = np.finfo(np.float32).tiny
    return Classifier(lambda x: np.log(np.maximum(network.predict_proba(scale.apply(x)), least)), seen, classes, len(y))


def _regression(seed: int, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, solver="lbfgs", tol=TOLERANCE, max_iter=MOST_STEPS, random_state=seed)


def _perceptron(scaled: Floats, y: Classes, seed: int) -> Any:
    """Trained until held-out rows are told no better; of few rows none is held out.

    Not by scikit-learn's own early stopping, which refuses a class with a single row.
    """
    from sklearn.neural_network import MLPClassifier

    order = np.random.default_rng(seed).permutation(len(y))
    held, train = np.split(order, [round(HELD_OUT * len(y)) if len(y) >= _FEW else 0])
    network = MLPClassifier((HIDDEN,), random_state=seed, batch_size=min(64, len(train)))
    seen = np.unique(y)
    best, since, kept = -1.0, 0, None
    for _ in range(EPOCHS if len(held) else _FEW_EPOCHS):
        network.partial_fit(scaled[train], y[train], classes=seen)
        if not len(held):
            continue
        right = float(np.mean(network.predict(scaled[held]) == y[held]))
        if right > best:
            best, since, kept = right, 0, [each.copy() for each in (*network.coefs_, *network.intercepts_)]
        else:
            since += 1
        if since == PATIENCE:
            break
    if kept is not None:
        network.coefs_, network.intercepts_ = kept[:2], kept[2:]
    return network


def _log_softmax(scores: Floats) -> Floats:
    """[row, class]; of two classes scikit-learn gives one number a row, the log-odds of the second."""
    wide = np.asarray(scores if scores.ndim == 2 else np.stack([np.zeros_like(scores), scores], axis=1), np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def _quietly(train: Callable[[Floats, Classes], object], x: Floats, y: Classes) -> None:
    """Without the warning of a fit that used all its steps: it is nearly there, and held-out rows judge it as it is."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        train(x, y)
