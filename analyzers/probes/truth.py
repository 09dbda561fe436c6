"""Detectors of true statements in hidden states: one interface, several published ways to train them.

logistic       logistic regression
mass-mean      theta = mean of the true states less that of the false ones (Marks and Tegmark, arXiv 2310.06824), for statements unlike
               those of training
mass-mean-iid  the same times the pseudo-inverse of the covariance within classes, for statements like those of training
saplma         an MLP of 256, 128 and 64 neurons, ReLU, binary cross-entropy, Adam, 5 epochs of batches of 32 (arXiv 2304.13734)
ccs            a direction in which a statement and its negation get probabilities that sum to 1 and are not both 1/2 (arXiv 2212.03827);
               labels only fix its sign
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analyzers.errors import Failed
from analyzers.probes.regressions import regressions

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]
Kind = Literal["logistic", "mass-mean", "mass-mean-iid", "saplma", "ccs"]
KINDS: tuple[Kind, ...] = get_args(Kind)

C = 0.01
"""Inverse strength of the penalty of logistic regression on standardised states, where none was chosen."""
HIDDEN = (256, 128, 64)
EPOCHS, BATCH = 5, 32
RESTARTS, STEPS, RATE, DECAY = 10, 1000, 1e-3, 0.01
LEAST_EIGENVALUE = 1e-3
"""Of the covariance within classes; directions of less are left out of its inverse."""


@dataclass(frozen=True, eq=False)
class Detector:
    """What tells true statements from false ones by their states."""

    kind: Kind
    mean: Floats
    """[width] of the training states, which are taken off before anything else."""
    scale: Floats
    """[width] what is divided by then."""
    tensors: Mapping[str, Floats]
    """`weight.<layer>` [out, in] and `bias.<layer>` [out]; one layer where the detector is linear."""

    def score(self, x: Floats) -> npt.NDArray[np.float64]:
        """Log-odds that statements with the states x [row, width] are true: float64 [row]."""
        found = (np.asarray(x, np.float64) - self.mean) / self.scale
        last = len(self.tensors) // 2 - 1
        for layer in range(last + 1):
            found = found @ np.asarray(self.tensors[f"weight.{layer}"], np.float64).T + self.tensors[f"bias.{layer}"]
            if layer < last:
                found = np.maximum(found, 0)
        return np.asarray(found[:, 0], np.float64)

    def probability(self, x: Floats) -> npt.NDArray[np.float64]:
        """Probability of truth: float64 [row]."""
        return probability(self.score(x))

    @property
    def direction(self) -> npt.NDArray[np.float64] | None:
        """float64 [width] along which the log-odds grow in the states themselves; None for the MLP, which has no single one."""
        return None if len(self.tensors) > 2 else np.asarray(self.tensors["weight.0"][0] / self.scale, np.float64)


def probability(log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of log-odds, without overflow."""
    from scipy.special import expit

    found: npt.NDArray[np.float64] = expit(log_odds)
    return found


def fit(kind: Kind, x: Floats, y: Flags, *, seed: int, pairs: tuple[Floats, Floats] | None = None, c: float = C) -> Detector | Failed:
    """Train one on the states x [row, width] of statements and whether they are true, y [row].

    pairs: states [pair, width] of statements and of their negations, which ccs alone needs. c: inverse strength of the penalty of
    logistic regression. Failed where all statements are true or all false, and for ccs without pairs.
    """
    y = np.asarray(y, np.bool_)
    if kind == "logistic":
        return fit_logistic(x, [y], [np.ones(len(y), np.bool_)], [c])[0]
    if (failed := _one_sided(y)) is not None:
        return failed
    if kind == "ccs":
        if pairs is None or len(pairs[0]) < 2:
            return Failed(
                "train",
                "CCS is trained on pairs of a statement and its negation, and fewer than two pairs are left; give negations of more topics",
            )
        return _ccs(x, y, *pairs, seed)
    if kind == "mass-mean":
        # The plain difference of means is that of the states themselves, as published.
        mean, trues, falses = (np.asarray(np.mean(of, 0, dtype=np.float64)) for of in (x, x[y], x[~y]))
        theta = trues - falses
        return Detector(kind, mean, np.ones_like(mean), _calibrated(theta, x @ theta - mean @ theta, y))
    mean, scale = standardiser(x)
    z = (x - mean) / scale
    if kind == "saplma":
        return Detector(kind, mean, scale, _mlp(z.astype(np.float32), y, seed))
    theta = z[y].mean(0) - z[~y].mean(0)
    within = np.concatenate([z[y] - z[y].mean(0), z[~y] - z[~y].mean(0)])
    theta = _pseudo_inverse(within.T @ within / len(within)) @ theta
    return Detector(kind, mean, scale, _calibrated(theta, z @ theta, y))


def fit_logistic(x: Floats, y: Sequence[Flags], rows: Sequence[Flags], c: Sequence[float]) -> list[Detector | Failed]:
    """As `fit` of logistic regression, for several at once: y, rows and c have for each the labels [row], the rows [row] that it is
    trained on, and its inverse strength."""
    failures = [_one_sided(labels[own]) for labels, own in zip(y, rows, strict=True)]
    fine = [number for number, failed in enumerate(failures) if failed is None]
    trained = (
        zip(*regressions(x, *(np.array([each[number] for number in fine]) for each in (y, rows, c))), strict=True) if fine else iter(())
    )
    return [_regression(*next(trained)) if failed is None else failed for failed in failures]


def _regression(weights: Floats, intercept: float, mean: Floats, scale: Floats) -> Detector:
    return Detector("logistic", mean, scale, {"weight.0": weights[None], "bias.0": np.array([intercept])})


def _one_sided(y: Flags) -> Failed | None:
    """Why nothing can be learnt of these labels, if so."""
    if y.any() and not y.all():
        return None
    return Failed("train", f"a detector is trained on true and on false statements, and {int(y.sum())} of {len(y)} are true")


def standardiser(x: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation [width] of states [row, width]; 1 for the deviation of what does not vary."""
    mean, scale = (np.asarray(of(x, 0, dtype=np.float64)) for of in (np.mean, np.std))
    return mean, np.asarray(np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-12), scale, 1.0))


def _calibrated(theta: Floats, along: Floats, y: Flags) -> dict[str, Floats]:
    """A direction with the slope and intercept by which projections on it, along [row], are log-odds: two numbers, fitted to the training
    statements."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = along.mean(), along.std() or 1.0
    found = LogisticRegression().fit(((along - middle) / spread)[:, None], y)
    slope = float(found.coef_[0, 0]) / spread
    return {"weight.0": slope * theta[None], "bias.0": found.intercept_ - slope * middle}


def _pseudo_inverse(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    inverse = np.where(values > LEAST_EIGENVALUE, 1 / np.maximum(values, LEAST_EIGENVALUE), 0.0)
    return np.asarray((vectors * inverse) @ vectors.T)


def _mlp(z: Floats, y: Flags, seed: int) -> dict[str, Floats]:
    widths = (z.shape[1], *HIDDEN, 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = [nn.Linear(width, out) for width, out in pairwise(widths)]
        order = [rows for _ in range(EPOCHS) for rows in torch.split(torch.randperm(len(z)), BATCH)]
    states, targets = torch.tensor(z, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    with torch.enable_grad():
        optimiser = torch.optim.Adam([parameter for layer in layers for parameter in layer.parameters()], fused=True)
        for rows in order:
            hidden = states[rows]
            for layer in layers[:-1]:
                hidden = layer(hidden).relu()
            loss = F.binary_cross_entropy_with_logits(layers[-1](hidden)[:, 0], targets[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    told = enumerate(layers)
    return {
        name: value for at, layer in told for name, value in ((f"weight.{at}", _array(layer.weight)), (f"bias.{at}", _array(layer.bias)))
    }


def _ccs(x: Floats, y: Flags, said: Floats, denied: Floats, seed: int) -> Detector:
    """All restarts at once; the one with the least loss counts."""
    (mean, scale), (mean_denied, scale_denied) = standardiser(said), standardiser(denied)
    plus = torch.tensor((said - mean) / scale, dtype=torch.float32)
    minus = torch.tensor((denied - mean_denied) / scale_denied, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        start = torch.randn(plus.shape[1], RESTARTS, generator=generator)
        weights = (start / start.norm(dim=0)).requires_grad_()
        biases = torch.zeros(RESTARTS, requires_grad=True)
        optimiser = torch.optim.AdamW([weights, biases], lr=RATE, weight_decay=DECAY)
        for _ in range(STEPS):
            optimiser.zero_grad()
            _ccs_loss(plus, minus, weights, biases).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        best = int(_ccs_loss(plus, minus, weights, biases).argmin())
    weight, bias = _array(weights[:, best]).astype(np.float64), _array(biases[best : best + 1]).astype(np.float64)
    right = np.mean((((x - mean) / scale) @ weight + bias > 0) == y)
    sign = 1.0 if right >= 0.5 else -1.0
    return Detector("ccs", mean, scale, {"weight.0": sign * weight[None], "bias.0": sign * bias})


def _ccs_loss(plus: Tensor, minus: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """[restart] (p(x+) - (1 - p(x-)))^2 + min(p(x+), p(x-))^2, mean over pairs."""
    said, denied = (plus @ weights + biases).sigmoid(), (minus @ weights + biases).sigmoid()
    return ((said - (1 - denied)) ** 2 + torch.minimum(said, denied) ** 2).mean(0)


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = tensor.detach().numpy()
    return found
