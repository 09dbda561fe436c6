"""How well predicted activations fit the true ones: four formulas over the tokens of all excerpts taken together.

A score of one excerpt alone is never formed: excerpts that do not fire would make it undefined. The names are distinct because the
literature gives one name to several formulas:

pearson                        correlation of truth and prediction; the published "ev correlation score".
                               Where it is undefined it is Failed here, NaN in the 2023 code, 0 in Transformer Debugger.
r2_uncentred                   1 - mean((t - p)^2) / mean(t^2), the R2 of the 2023 code: predicting the mean scores above 0
r2_centred                     1 - mean((t - p)^2) / var(t), the R2 of Transluce and of scikit-learn
absolute_deviation_explained   1 - mean|t - p| / mean|t|, of the 2023 code; Transluce divides by mean|t - median(t)| instead

The last three compare values, so they exist only for a prediction in the unit of the truth (evals.calibration brings it there).
Transluce correlates after a linear calibration on the scored tokens, which turns r into |r|: here a reversed simulation stays negative.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from agents.explanation import Scale, Simulation
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Masked: TypeAlias = np.ma.MaskedArray[tuple[Any, ...], np.dtype[np.float64]]
Statistic = Callable[[Floats], Masked]
"""Weights [draw, unit] -> values [draw], masked where undefined. A weight says how often a unit is counted."""

ScoreName = Literal["pearson", "r2_uncentred", "r2_centred", "absolute_deviation_explained"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)

CONSTANT = 1e-6
"""Values that differ by less than this share of the largest are one value: some times the rounding of float32."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Truth and prediction of the same tokens, the excerpts one after the other."""

    truth: Floats
    """[token] raw activation."""
    prediction: Floats
    """[token] in the unit of `scale`; meaningless where not present."""
    present: npt.NDArray[np.bool_]
    """[token] whether there is a prediction; a missing one is left out of every score."""
    excerpt: Indices
    """[token] index of the excerpt."""
    document: Indices
    """[excerpt] index of the document."""
    scale: Scale

    @property
    def n(self) -> int:
        """Tokens with a prediction."""
        return int(self.present.sum())

    @property
    def missing(self) -> int:
        """Tokens without one."""
        return len(self.present) - self.n

    @property
    def documents(self) -> int:
        return int(self.document.max(initial=-1)) + 1


class Sums(NamedTuple):
    """Sums over present tokens, each [...]: the first six of t and p from their means over all, in multiples of their largest size."""

    n: Floats
    t: Floats
    p: Floats
    tt: Floats
    pp: Floats
    tp: Floats
    squares: Floats
    """Of the truth itself, in multiples of its largest size, like the following."""
    sizes: Floats
    squared_errors: Floats
    errors: Floats


def paired(excerpts: Sequence[Excerpt], outcomes: Sequence[Simulation | Failed]) -> Pairs | Failed:
    """Put the predictions beside the truth; all tokens of a failed simulation are missing. Failed if all simulations failed."""
    done = [outcome for outcome in outcomes if isinstance(outcome, Simulation)]
    if not done:
        reasons = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Failed)).most_common(1)
        return Failed("score", f"none of {len(excerpts)} excerpts was simulated" + "".join(f": {reason}" for reason, _ in reasons))
    (scale,) = {simulation.scale for simulation in done}
    documents: dict[str, int] = {}
    values, present = [], []
    for excerpt, outcome in zip(excerpts, outcomes, strict=True):
        length = len(excerpt.tokens)
        if isinstance(outcome, Simulation) and not (len(outcome.values) == len(outcome.present) == len(excerpt.activations) == length):
            raise ValueError(f"{excerpt.key}: {len(outcome.values)} predictions for {length} tokens")
        values.append(outcome.values if isinstance(outcome, Simulation) else np.zeros(length, np.float32))
        present.append(outcome.present if isinstance(outcome, Simulation) else np.zeros(length, np.bool_))
        documents.setdefault(excerpt.document, len(documents))
    return Pairs(
        truth=np.concatenate([excerpt.activations for excerpt in excerpts]).astype(np.float64),
        prediction=np.concatenate(values).astype(np.float64),
        present=np.concatenate(present),
        excerpt=np.repeat(np.arange(len(excerpts)), [len(excerpt.tokens) for excerpt in excerpts]),
        document=np.array([documents[excerpt.document] for excerpt in excerpts], np.intp),
        scale=scale,
    )


def null_contrast(pairs: Pairs, null: Pairs) -> Pairs:
    """Prediction minus the prediction for an empty explanation, which removes the simulator's prior; the tokens that have both."""
    if pairs.scale != null.scale or not np.array_equal(pairs.truth, null.truth):
        raise ValueError("a null contrast needs two simulations of the same excerpts on one scale")
    return replace(pairs, prediction=pairs.prediction - null.prediction, present=pairs.present & null.present)


def score(name: ScoreName, pairs: Pairs) -> float | Failed:
    """One score over all present tokens, dimensionless, at most 1; Failed where it is undefined or the unit is not the truth's."""
    failed = problem(name, pairs)
    if failed is not None:
        return failed
    value = statistic(name, pairs)(np.ones((1, pairs.documents)))
    if np.ma.getmaskarray(value).any():
        return Failed("score", "truth or prediction varies no more than rounding does")
    return float(value[0])


def problem(name: ScoreName, pairs: Pairs) -> Failed | None:
    """Why this score does not exist, if it does not."""
    truth, prediction = pairs.truth, pairs.prediction[pairs.present]
    if name != "pearson" and pairs.scale != "activation":
        return Failed("score", f"{name} compares values: predictions on the {pairs.scale} scale need a calibration first")
    if not prediction.size:
        return Failed("score", f"no prediction for any of {len(truth)} tokens")
    for what, values in (("truth", truth), ("prediction", prediction)):
        if not np.isfinite(values).all():
            return Failed("score", f"the {what} has {int((~np.isfinite(values)).sum())} values that are not finite")
    for what, values in (("truth", truth[pairs.present]), ("prediction", prediction)):
        if constant(values):
            return Failed("score", f"the {what} is constant ({values[0]:g}) over {values.size} tokens")
    return None


def constant(values: Floats) -> bool:
    """Whether all values are one, up to the rounding of float32."""
    return bool(np.ptp(values) <= CONSTANT * np.abs(values).max())


def statistic(name: ScoreName, pairs: Pairs) -> Statistic:
    """The score as a function of how often each document counts, [draw, document] -> [draw], from sums over documents."""
    t, p = pairs.truth[pairs.present], pairs.prediction[pairs.present]
    unit = pairs.document[pairs.excerpt[pairs.present]]
    size = np.abs(t).max() or 1.0
    truth, error = t / size, (t - p) / size
    t, p = (t - t.mean()) / size, (p - p.mean()) / (np.abs(p).max() or 1.0)
    terms = (np.ones_like(t), t, p, t * t, p * p, t * p, truth * truth, np.abs(truth), error * error, np.abs(error))
    by_document = np.stack([np.bincount(unit, term, pairs.documents) for term in terms], axis=1)
    return lambda weights: _FORMULAS[name](Sums(*(weights @ by_document).T))


def correlation(sums: Sequence[Floats] | Floats) -> Masked:
    """Pearson's r from the first six of Sums, of numbers no larger than about 1; masked where either side is constant."""
    n, t, p, tt, pp, tp = sums
    n = np.maximum(n, 1)
    tt, pp, tp = tt - t * t / n, pp - p * p / n, tp - t * p / n
    defined = np.minimum(tt, pp) > n * CONSTANT**2
    return np.ma.masked_array(np.clip(tp / np.sqrt(np.where(defined, tt * pp, 1.0)), -1, 1), ~defined)


def _explained(unexplained: Floats, total: Floats) -> Masked:
    defined = total > 0  # not only approximately: a sum of squares or sizes is 0 only where all are
    return np.ma.masked_array(1 - unexplained / np.where(defined, total, 1.0), ~defined)


def _r2_centred(s: Sums) -> Masked:
    total = s.tt - s.t**2 / np.maximum(s.n, 1)
    return _explained(s.squared_errors, np.where(total > s.n * CONSTANT**2, total, 0.0))


_FORMULAS: dict[ScoreName, Callable[[Sums], Masked]] = {
    "pearson": lambda s: correlation(s[:6]),
    "r2_uncentred": lambda s: _explained(s.squared_errors, s.squares),
    "r2_centred": _r2_centred,
    "absolute_deviation_explained": lambda s: _explained(s.errors, s.sizes),
}
