"""Figures of a method over its edits, with intervals over edits.

Sources: Meng et al. 2022 (efficacy, paraphrase and neighbourhood scores, n-gram entropy, consistency, their harmonic mean), Zhang et al.
2024 (token match, portability, locality as agreement with the model as it was).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from analyzers.errors import Failed
from evals.editing.cases import Case
from evals.editing.results import Outcome
from evals.influence.baselines import tf_idf
from evals.results import Failure, Value, stored
from evals.scores import Floats, Masked, Statistic
from evals.statistics import bootstrap, mean

MEASURES = (
    "edit_success",
    "success_probability",
    "generalisation",
    "generalisation_probability",
    "portability",
    "locality",
    "locality_probability",
    "fluency",
    "consistency",
    "score",
)
SCORED = ("edit_success", "generalisation", "locality")
"""What the score is the harmonic mean of."""
STAGE = "measure"
_WORD = re.compile(r"\w+|[^\w\s]")
_NONE: Mapping[str, str] = {
    "success_probability": "no true target in the file",
    "generalisation": "no rephrase in the file",
    "generalisation_probability": "no rephrase with a true target in the file",
    "portability": "none in the file",
    "locality": "no prompt on anything else in the file",
    "locality_probability": "no neighbouring prompt with its answer in the file",
    "fluency": "no text was written",
    "consistency": "none in the file",
}


def entropy(text: str) -> float:
    """Of its pairs and triples of words, in bits: (2/3 H2 + 4/3 H3) / 2; 0 of a text without any."""
    words = _WORD.findall(text)
    return (
        sum(weight * _entropy(Counter(zip(*(words[at:] for at in range(n)), strict=False))) for n, weight in ((2, 2 / 3), (3, 4 / 3))) / 2
    )


def _entropy(counts: Mapping[tuple[str, ...], int]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def figures(cases: Sequence[Case], outcomes: Sequence[Outcome], *, seed: int = 0) -> dict[str, Value | Failure]:
    """Every measure, and `portability/<kind>` of each kind; cases, outcomes [edit]. n counts edits that have it."""
    found: dict[str, Value | Failure] = {}
    arrays = {name: _array([of(each) for each in outcomes]) for name, of in _OF.items()}
    for kind in dict.fromkeys(kind for each in outcomes for kind in each.ported if kind):
        arrays[f"portability/{kind}"] = _array([_mean(each.ported.get(kind, [])) for each in outcomes])
    arrays["consistency"] = _consistency(cases, outcomes)
    for name in (*MEASURES[:-1], *(name for name in arrays if "/" in name)):
        known = int((~np.isnan(arrays[name])).sum())
        if not known:
            found[name] = Failure(stage=STAGE, reason=_NONE[name])
        else:
            found |= stored(bootstrap({name: average(arrays[name])}, len(outcomes), n=known, seed=seed))
    found["score"] = _score(arrays, found, len(outcomes), seed)
    return found


def above(outcomes: Sequence[Outcome], controls: Mapping[str, Sequence[Outcome]], *, seed: int = 0) -> dict[str, Value | Failure]:
    """By control edit_success less that of it on the same edits."""
    return stored(
        {
            name: mean([one.success - other.success for one, other in zip(outcomes, control, strict=True)], seed=seed)
            for name, control in controls.items()
        }
    )


def average(values: Floats) -> Statistic:
    """The mean over units of those that are no NaN."""
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)

    def of(weights: Floats) -> Masked:
        count = weights @ present
        return np.ma.masked_array((weights @ filled) / np.maximum(count, 1e-12), count == 0)

    return of


def harmonic(parts: Sequence[Statistic]) -> Statistic:
    """The harmonic mean of several; 0 where one of them is."""

    def of(weights: Floats) -> Masked:
        values = [part(weights) for part in parts]
        mask = np.any([np.ma.getmaskarray(value) for value in values], axis=0)
        plain = np.array([value.data for value in values])
        with np.errstate(divide="ignore"):
            mean_of = len(parts) / (1 / plain).sum(axis=0)
        return np.ma.masked_array(np.where((plain > 0).all(axis=0), mean_of, 0.0), mask)

    return of


def _score(arrays: Mapping[str, Floats], found: Mapping[str, Value | Failure], edits: int, seed: int) -> Value | Failure:
    for name in SCORED:
        each = found[name]
        if isinstance(each, Failure):
            return Failure(stage=STAGE, reason=f"{name}: {each.reason}")
    of = harmonic([average(arrays[name]) for name in SCORED])
    return stored(bootstrap({"score": of}, edits, n=edits, seed=seed))["score"]


def _consistency(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Floats:
    """[edit] cosine of what was written and the reference by words, each weighed by how rare it is among the references."""
    found = np.full(len(cases), np.nan)
    has = [at for at, (case, each) in enumerate(zip(cases, outcomes, strict=True)) if case.reference and each.written is not None]
    if not has:
        return found
    alike = tf_idf([outcomes[at].written or "" for at in has], [cases[at].reference or "" for at in has])
    if not isinstance(alike, Failed):
        found[has] = alike.diagonal()
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _array(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


_OF: Mapping[str, Callable[[Outcome], float | None]] = {
    "edit_success": lambda each: each.success,
    "success_probability": lambda each: each.prefers,
    "generalisation": lambda each: _mean(each.rephrased),
    "generalisation_probability": lambda each: _mean(each.rephrased_prefers),
    "portability": lambda each: _mean([value for values in each.ported.values() for value in values]),
    "locality": lambda each: _mean(each.kept),
    "locality_probability": lambda each: _mean(each.neighbours),
    "fluency": lambda each: None if each.written is None else entropy(each.written),
}
