"""Which classes the model tells apart, and whether the distances of their labels' keys foretell it.

Source: Wang et al. 2023, arXiv 2305.14160, section 4.3.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, permutations
from math import factorial
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import Failed
from evals.icl.analyses import ANALYSES
from evals.icl.asking import of_draw
from evals.icl.auroc import mean_auroc
from evals.icl.kept import Kept
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.results import Value, stored
from evals.scores import Floats, Indices, Masked, Statistic
from evals.statistics import bootstrap, permutation_p

if TYPE_CHECKING:
    from analyzers.icl.confusion import Singles, Vectors

DEPTH = 2 / 3
"""Of the layer whose figures are given: the paper reads layer 32 of 48."""
DRAWS = 200
"""Resamples behind the interval of a distance: each takes a decomposition of all queries."""
FEWEST = 3
"""Pairs of classes that a rank correlation needs."""
RELABELLINGS = 5040
"""Orders of the classes that are all tried, those of seven; of more of them as many are drawn."""

Pair = tuple[int, int]


@ANALYSES.add("diagnose")
def diagnose(setting: Setting) -> Analysis:
    """Figures `measured/<class>/<class>`: the AUROC of p_i / (p_i + p_j) on the items of both classes, `predicted/<class>/<class>`: the
    distance of their labels' keys as a share of the largest, and `rank_correlation`, Spearman's over the pairs; all are means over the
    draws of demonstrations, and large where classes are told apart. Curve: `rank_correlation` over layers. In correlations the
    distances are those of all items, and the resamples vary what is measured: its interval says nothing of chance among the classes, of
    which there are few. That is its p-value, one-sided, from relabelling the classes of the distances (Mantel 1967), the same way in all
    draws.
    """
    from analyzers.icl.confusion import DIRECTIONS, label_vectors, predicted_distances

    pairs = list(combinations(range(len(setting.template.labels)), 2))
    units, unit = np.unique(setting.units, return_inverse=True)
    parts = [np.array(of_draw(setting, draw)) for draw in range(len(setting.drawn.shown))]
    layers, count = setting.model.layers, len(setting.cases)
    layer = min(layers - 1, round(DEPTH * layers))
    measured = Kept(_measured(setting, parts, pairs, unit))
    found = _of_pairs(setting, pairs, bootstrap(_means(measured, "measured", setting, pairs), len(units), n=count, seed=setting.seed))
    notes: list[str] = []
    curves: dict[str, Curve] = {}
    p_values: dict[str, float] = {}
    if len(pairs) < FEWEST:
        reason = f"two classes have {len(pairs)} pair, and a rank correlation needs {FEWEST}: give a task of three labels or more"
        found["rank_correlation"] = Failed("diagnose", reason)
    else:
        notes.append(f"predicted from layer {layer} of 0 to {layers - 1}, along {DIRECTIONS} directions of the queries")
        first = [int(part[0]) for part in parts]
        vectors = label_vectors(setting.model, setting.prompts, keys_of=first, report=setting.report)
        setting.report("distances of labels", 0, 0)
        distances = Kept(_distances(vectors, parts, layer, pairs, unit))
        found |= bootstrap(_means(distances, "predicted", setting, pairs), len(units), n=count, draws=DRAWS, seed=setting.seed)
        expected = np.array([[predicted_distances(*_of(vectors, parts, draw, at)) for draw in range(len(parts))] for at in range(layers)])
        rows, columns = np.array(pairs).T
        ranked = {str(at): _correlation(measured, expected[at][:, rows, columns]) for at in range(layers)}
        correlations = bootstrap(ranked, len(units), n=count, seed=setting.seed)
        found["rank_correlation"] = correlations[str(layer)]
        if isinstance(correlations[str(layer)], Failed):
            notes.append(f"no rank correlation where fewer than {FEWEST} pairs have items, or all are told apart equally well")
        else:
            p_values["rank_correlation"], tried = relabelled_p(measured(np.ones((1, len(units)))), expected[layer], seed=setting.seed)
            notes.append(f"rank correlation: p = {p_values['rank_correlation']:.3g} among {tried} relabellings of the classes")
        values = list(stored(correlations).values())
        curves["rank_correlation"] = Curve(over="layer", at=[float(at) for at in range(layers)], values=values)
    return Analysis(figures=stored(found), curves=curves, notes=notes, p_values=p_values)


def relabelled_p(measured: Masked, expected: Floats, *, seed: int = 0) -> tuple[float, int]:
    """p-value of the mean over parts of `rank_correlations`, and how many relabellings of the classes it is among: all of them, this one
    included, where they are at most RELABELLINGS, else as many drawn ones.

    measured [part, pair, 1], the pairs in the order of combinations; expected [part, class, class]. A relabelling without a correlation
    counts as one that is as large.
    """
    classes = expected.shape[1]
    rows, columns = np.array(list(combinations(range(classes), 2))).T

    def of(order: Sequence[int]) -> float:
        own = expected[:, order][:, :, order][:, rows, columns]
        found = np.ma.stack([rank_correlations(*both) for both in zip(measured, own, strict=True)]).mean(axis=0)
        return float(np.ma.filled(found, np.inf)[0])

    observed = of(range(classes))
    if factorial(classes) <= RELABELLINGS:
        # The first one is what was observed.
        every = [of(order) for order in permutations(range(classes))]
        return permutation_p(observed, every[1:]), len(every)
    rng = np.random.default_rng(seed)
    return permutation_p(observed, [of(rng.permutation(classes).tolist()) for _ in range(RELABELLINGS)]), RELABELLINGS


def _of_pairs(setting: Setting, pairs: Sequence[Pair], found: Mapping[str, Value | Failed]) -> dict[str, Value | Failed]:
    """With the answers that each pair is measured on."""
    counts = [int(np.isin(setting.gold, pair).sum()) for pair in pairs]
    return {
        name: one if isinstance(one, Failed) else one.model_copy(update={"n": count})
        for (name, one), count in zip(found.items(), counts, strict=True)
    }


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


def _means(kept: Kept, what: str, setting: Setting, pairs: Sequence[Pair]) -> dict[str, Statistic]:
    """Of each pair the mean over parts; kept: [part, pair, draw]."""

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
            [predicted_distances(*_of(vectors, parts, draw, layer), weights=row[unit[part]])[rows, columns] for row in weights]
            for draw, part in enumerate(parts)
        ]
        return np.ma.masked_array(np.array(found).transpose(0, 2, 1))

    return of


def _of(vectors: "Vectors", parts: Sequence[Indices], draw: int, layer: int) -> tuple["Singles", "Singles"]:
    """Queries [case of the part, width] and keys [class, width], which are the same in all prompts of a part."""
    return vectors.queries[parts[draw], layer], vectors.keys[draw, layer]


def _correlation(measured: Kept, expected: Floats) -> Statistic:
    """Mean over parts; expected [part, pair]."""

    def of(weights: Floats) -> Masked:
        found = measured(weights)
        return np.ma.masked_array(np.ma.stack([rank_correlations(*both) for both in zip(found, expected, strict=True)]).mean(axis=0))

    return of


def _undefined(draws: int) -> Masked:
    return np.ma.masked_array(np.zeros(draws), np.ones(draws, np.bool_))
