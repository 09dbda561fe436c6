"""Which classes the model tells apart, and whether the distances of their labels' keys foretell it.

Source: Wang et al. 2023, arXiv 2305.14160, section 4.3.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import Failed
from evals.icl.analyses import ANALYSES
from evals.icl.asking import of_draw
from evals.icl.auroc import mean_auroc
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.results import Failure, Value, failure
from evals.scores import Floats, Indices, Masked, Statistic
from evals.statistics import bootstrap

if TYPE_CHECKING:
    from analyzers.icl.confusion import Vectors

DEPTH = 2 / 3
"""Of the layer whose figures are given: the paper reads layer 32 of 48."""
DRAWS = 200
"""Resamples behind the interval of a distance: each takes a decomposition of all queries."""
FEWEST = 3
"""Pairs of classes that a rank correlation needs."""

Pair = tuple[int, int]


@ANALYSES.add("diagnose")
def diagnose(setting: Setting) -> Analysis:
    """Figures `measured/<class>/<class>`: the AUROC of p_i / (p_i + p_j) on the items of both classes, `predicted/<class>/<class>`: the
    distance of their labels' keys as a share of the largest, and `rank_correlation`, Spearman's over the pairs; all are means over the
    draws of demonstrations, and large where classes are told apart. Curve: `rank_correlation` over layers. In correlations the
    distances are those of all items, and the resamples vary what is measured.
    """
    from analyzers.icl.confusion import DIRECTIONS, label_vectors, predicted_distances

    pairs = list(combinations(range(len(setting.template.labels)), 2))
    units, unit = np.unique(setting.units, return_inverse=True)
    parts = [np.array(of_draw(setting, draw)) for draw in range(len(setting.drawn.shown))]
    layers, count = setting.model.layers, len(setting.cases)
    layer = min(layers - 1, round(DEPTH * layers))
    measured = _Kept(_measured(setting, parts, pairs, unit))
    found = bootstrap(_means(measured, "measured", setting, pairs), len(units), n=count, seed=setting.seed)
    notes = []
    curves = {}
    if len(pairs) < FEWEST:
        reason = f"two classes have {len(pairs)} pair, and a rank correlation needs {FEWEST}: a task of three labels or more"
        found["rank_correlation"] = Failed("diagnose", reason)
    else:
        notes.append(f"predicted from layer {layer} of 0 to {layers - 1}, along {DIRECTIONS} directions of the queries")
        vectors = label_vectors(setting.model, setting.prompts, report=setting.report)
        setting.report("distances of labels", 0, 0)
        distances = _Kept(_distances(vectors, parts, layer, pairs, unit))
        found |= bootstrap(_means(distances, "predicted", setting, pairs), len(units), n=count, draws=DRAWS, seed=setting.seed)
        expected = np.array([[predicted_distances(*_of(vectors, part, at)) for part in parts] for at in range(layers)])
        rows, columns = np.array(pairs).T
        ranked = {str(at): _correlation(measured, expected[at][:, rows, columns]) for at in range(layers)}
        correlations = bootstrap(ranked, len(units), n=count, seed=setting.seed)
        found["rank_correlation"] = correlations[str(layer)]
        if isinstance(correlations[str(layer)], Failed):
            notes.append(f"no rank correlation where fewer than {FEWEST} pairs have items, or all are told apart equally well")
        values = [_told(correlations[str(at)]) for at in range(layers)]
        curves["rank_correlation"] = Curve(over="layer", at=[float(at) for at in range(layers)], values=values)
    return Analysis(figures={name: _told(one) for name, one in found.items()}, curves=curves, notes=notes)


def rank_correlations(measured: Masked, expected: Floats) -> Masked:
    """[draw] Spearman's correlation of measured [pair, draw] with expected [pair], over the pairs that are measured in the draw; masked
    where these are fewer than FEWEST or all the same."""
    from scipy.stats import rankdata

    there = ~np.ma.getmaskarray(measured)
    found = _undefined(there.shape[1])
    for pattern in np.unique(there, axis=1).T:
        if pattern.sum() < FEWEST:
            continue
        draws = (there == pattern[:, None]).all(axis=0)
        x = rankdata(measured.data[pattern][:, draws], axis=0)
        y = rankdata(expected[pattern])[:, None]
        x, y = x - x.mean(axis=0), y - y.mean()
        spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
        found[draws] = np.ma.masked_array((x * y).sum(axis=0) / np.where(spread > 0, spread, 1), spread <= 0)
    return found


class _Kept:
    """[part, pair, draw] of one block of resamples, computed once though every pair's figure asks for it."""

    def __init__(self, of: Callable[[Floats], Masked]) -> None:
        self._of = of
        self._weights: Floats | None = None
        self._found = _undefined(0)

    def __call__(self, weights: Floats) -> Masked:
        if self._weights is not weights:
            self._weights, self._found = weights, self._of(weights)
        return self._found


def _means(kept: _Kept, what: str, setting: Setting, pairs: Sequence[Pair]) -> dict[str, Statistic]:
    """Of each pair the mean over parts."""

    def at(number: int) -> Statistic:
        return lambda weights: np.ma.masked_array(kept(weights)[:, number].mean(axis=0))

    labels = setting.template.labels
    return {f"{what}/{labels[one]}/{labels[other]}": at(number) for number, (one, other) in enumerate(pairs)}


def _measured(setting: Setting, parts: Sequence[Indices], pairs: Sequence[Pair], unit: Indices) -> Callable[[Floats], Masked]:
    contests = [[_contest(setting, part, pair, unit) for pair in pairs] for part in parts]
    return lambda weights: np.ma.masked_array(np.ma.stack([np.ma.stack([of(weights) for of in own]) for own in contests]))


def _contest(setting: Setting, part: Indices, pair: Pair, unit: Indices) -> Statistic:
    """How well the shares of two classes tell the items of one from those of the other, behind one draw of demonstrations."""
    gold = setting.gold[part]
    cases = part[np.isin(gold, pair)]
    if len(set(setting.gold[cases])) < 2:
        return lambda weights: _undefined(len(weights))
    is_second = np.asarray(setting.gold[cases] == pair[1], np.int64)
    of = mean_auroc(setting.answers.probabilities[cases][:, list(pair)], is_second, unit[cases].tolist())
    own = np.unique(unit[cases])
    return lambda weights: of(weights[:, own])


def _distances(
    vectors: "Vectors", parts: Sequence[Indices], layer: int, pairs: Sequence[Pair], unit: Indices
) -> Callable[[Floats], Masked]:
    from analyzers.icl.confusion import predicted_distances

    rows, columns = np.array(pairs).T

    def of(weights: Floats) -> Masked:
        found = [
            [predicted_distances(*_of(vectors, part, layer), weights=row[unit[part]])[rows, columns] for row in weights] for part in parts
        ]
        return np.ma.masked_array(np.array(found).transpose(0, 2, 1))

    return of


def _of(vectors: "Vectors", part: Indices, layer: int) -> tuple[Floats, Floats]:
    """Queries [case of the part, width] and keys [class, width], which are the same in all prompts of a part."""
    return vectors.queries[part, layer], vectors.keys[part[0], layer]


def _correlation(measured: _Kept, expected: Floats) -> Statistic:
    """Mean over parts; expected [part, pair]."""

    def of(weights: Floats) -> Masked:
        found = measured(weights)
        return np.ma.masked_array(np.ma.stack([rank_correlations(*both) for both in zip(found, expected, strict=True)]).mean(axis=0))

    return of


def _undefined(draws: int) -> Masked:
    return np.ma.masked_array(np.zeros(draws), np.ones(draws, np.bool_))


def _told(found: Value | Failed) -> Value | Failure:
    return failure(found) if isinstance(found, Failed) else found
