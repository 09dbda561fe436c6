"""Which classes are told apart, against scikit-learn's AUROC and SciPy's rank correlation."""

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from analyzers.icl.confusion import label_vectors, predicted_distances
from evals.icl.analyses.diagnose import diagnose, rank_correlations, relabelled_p
from evals.icl.asking import of_draw
from evals.icl.setting import Setting
from evals.results import Failure, Value
from evals.scores import Floats


def value(figure: Value | Failure) -> float:
    assert isinstance(figure, Value)
    assert figure.low <= figure.high
    return figure.value


def test_figures_are_those_of_each_draw_of_demonstrations(setting_of: Callable[..., Setting]) -> None:
    setting = setting_of(items=60, n=36)
    found = diagnose(setting)
    labels, layers = setting.template.labels, setting.model.layers
    vectors = label_vectors(setting.model, setting.prompts)
    measured = np.zeros((2, 3, 3))
    predicted = np.zeros((2, layers, 3, 3))
    for draw in range(2):
        cases = of_draw(setting, draw)
        gold, chances = setting.gold[cases], setting.answers.probabilities[cases]
        for i, j in combinations(range(3), 2):
            both = np.isin(gold, (i, j))
            share = chances[both, i] / (chances[both, i] + chances[both, j])
            measured[draw, i, j] = roc_auc_score(gold[both] == i, share)
        for layer in range(layers):
            predicted[draw, layer] = predicted_distances(vectors.queries[cases, layer], vectors.keys[cases[0], layer])
    at = np.triu_indices(3, 1)
    for i, j in zip(*at, strict=True):
        assert value(found.figures[f"measured/{labels[i]}/{labels[j]}"]) == pytest.approx(measured[:, i, j].mean())
        assert value(found.figures[f"predicted/{labels[i]}/{labels[j]}"]) == pytest.approx(predicted[:, 2, i, j].mean())
    expected = [np.mean([spearmanr(measured[d][at], predicted[d, layer][at])[0] for d in range(2)]) for layer in range(layers)]
    curve = found.curves["rank_correlation"]
    assert [value(one) for one in curve.values] == pytest.approx(expected)
    assert value(found.figures["rank_correlation"]) == pytest.approx(expected[2])
    assert "layer 2 of 0 to 2" in found.notes[0]
    gold = [case.item.label for case in setting.cases]
    for i, j in zip(*at, strict=True):
        figure = found.figures[f"measured/{labels[i]}/{labels[j]}"]
        assert isinstance(figure, Value)
        assert figure.n == gold.count(i) + gold.count(j) < len(gold)
    p = np.mean([against >= expected[2] - 1e-9 for against in relabelled(measured, predicted[:, 2])])
    assert found.p_values == {"rank_correlation": pytest.approx(p)}
    assert f"p = {p:.3g} among 6 relabellings" in found.notes[1]


def relabelled(measured: Floats, expected: Floats) -> list[float]:
    """Mean over parts of SciPy's rank correlation, the classes of expected [part, class, class] in every order."""
    classes = expected.shape[1]
    at = np.triu_indices(classes, 1)
    orders = [np.ix_(order, order) for order in permutations(range(classes))]
    return [float(np.mean([spearmanr(own[at], of[order][at])[0] for own, of in zip(measured, expected, strict=True)])) for order in orders]


@given(seed=st.integers(0, 10_000), classes=st.integers(3, 5), parts=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_p_counts_all_relabellings(seed: int, classes: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    measured, expected = rng.random((2, parts, classes, classes))
    expected += expected.transpose(0, 2, 1)
    rows, columns = np.triu_indices(classes, 1)
    p, tried = relabelled_p(np.ma.masked_array(measured[:, rows, columns, None]), expected)
    every = relabelled(measured, expected)
    assert (p, tried) == (pytest.approx(np.mean([one >= every[0] - 1e-9 for one in every])), len(every))
    assert p >= 1 / len(every)


def test_of_many_classes_relabellings_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.icl.analyses.diagnose.RELABELLINGS", 99)
    places = np.arange(6.0) ** 2
    expected = np.abs(places[:, None] - places)[None]
    rows, columns = np.triu_indices(6, 1)
    alike = np.ma.masked_array(expected[:, rows, columns, None])
    assert relabelled_p(alike, expected, seed=1) == (pytest.approx(0.01), 99)
    assert relabelled_p(-alike, expected, seed=1)[0] > 0.9


def test_two_classes_have_no_rank_correlation(setting_of: Callable[..., Setting]) -> None:
    found = diagnose(setting_of(labels=2))
    assert found.figures.keys() == {"measured/Negative/Positive", "rank_correlation"}
    assert isinstance(found.figures["rank_correlation"], Failure)
    assert isinstance(found.figures["measured/Negative/Positive"], Value)


@given(seed=st.integers(0, 10_000), pairs=st.integers(2, 8), draws=st.integers(1, 6))
def test_rank_correlations_are_over_what_is_measured(seed: int, pairs: int, draws: int) -> None:
    rng = np.random.default_rng(seed)
    measured = np.ma.masked_array(rng.integers(0, 4, size=(pairs, draws)) / 4, rng.random((pairs, draws)) < 0.3)
    expected = rng.integers(0, 4, size=pairs) / 4
    found = rank_correlations(measured, expected)
    assert found.shape == (draws,)
    for draw in range(draws):
        there = ~np.ma.getmaskarray(measured)[:, draw]
        x, y = measured.data[there, draw], expected[there]
        defined = there.sum() >= 3 and len(set(x)) > 1 and len(set(y)) > 1
        assert bool(np.ma.getmaskarray(found)[draw]) != defined
        if defined:
            assert found.data[draw] == pytest.approx(spearmanr(x, y)[0])
