"""Figures against scikit-learn, scipy and naive loops; their intervals against naive resampling and exact probabilities."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support, precision_score, recall_score, roc_auc_score

from analyzers.errors import Failed
from evals.results import Value
from evals.scoring.judged import Answer, Judged
from evals.scoring.measures import MOST_FAILED, Corrected, Recalled, difference, measured

FEW = 20
"""Resamples, where the interval is not what is looked at."""


def answers(truth: Any, prediction: Any, *, document: Any = None, group: Any = None, weight: Any = None) -> tuple[Answer, ...]:
    n = len(truth)
    return tuple(
        Answer(
            item=f"item {i}",
            document=f"document {i if document is None else document[i]}",
            truth=float(truth[i]),
            prediction=prediction[i] if isinstance(prediction[i], Failed) else float(prediction[i]),
            group="" if group is None else group[i],
            weight=1.0 if weight is None else float(weight[i]),
        )
        for i in range(n)
    )


def number(value: Value | Failed) -> float:
    assert isinstance(value, Value), value
    return value.value


items = st.lists(
    st.tuples(st.booleans(), st.integers(0, 8).map(lambda eighths: eighths / 8), st.integers(0, 6), st.integers(1, 4)),
    min_size=12,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(items)
def test_classification_figures_are_those_of_scikit_learn(drawn: list[tuple[bool, float, int, int]]) -> None:
    truth, prediction, document, weight = (np.array(column) for column in zip(*drawn, strict=True))
    assume(0 < truth.sum() < len(truth))
    found = measured(Judged(answers(truth, prediction, document=document, weight=weight)), "auroc", draws=FEW)
    said = prediction > 0.5
    expected = {
        "auroc": roc_auc_score(truth, prediction, sample_weight=weight),
        "balanced_accuracy": balanced_accuracy_score(truth, said, sample_weight=weight),
        "f1": f1_score(truth, said, sample_weight=weight, zero_division=np.nan),
        "precision": precision_score(truth, said, sample_weight=weight, zero_division=np.nan),
        "recall": recall_score(truth, said, sample_weight=weight),
    }
    assert list(found) == list(expected)
    told = {name: value for name, value in found.items() if isinstance(value, Value)}
    for name, value in told.items():
        assert value.value == pytest.approx(expected[name]), name
        assert value.n == len(truth)
    for name, failed in found.items():
        if isinstance(failed, Failed):  # too little varies for an interval, or nothing was said yes to
            assert any(why in failed.reason for why in ("resamples", "two units", "none of", "undefined")), (name, failed)


def test_no_figure_is_lost_where_all_are_defined() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([1, 0], 30)
    found = measured(Judged(answers(truth, np.clip(truth * 0.3 + rng.random(60) * 0.7, 0, 1))), "auroc", draws=100)
    assert all(isinstance(value, Value) for value in found.values())
    assert next(iter(found)) == "auroc"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=4, max_size=30))
def test_pearson_is_that_of_scipy(drawn: list[tuple[float, float]]) -> None:
    truth, prediction = np.array(drawn).T
    assume(np.ptp(truth) > 0.1 and np.ptp(prediction) > 0.1)
    value = measured(Judged(answers(truth, prediction)), "pearson", draws=FEW)["pearson"]
    if isinstance(value, Failed):
        assert "resamples" in value.reason
    else:
        assert value.value == pytest.approx(pearsonr(truth, prediction).statistic, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 5), st.sampled_from("ab")), min_size=3, max_size=20))
def test_share_is_the_weighted_mean_by_group_too(drawn: list[tuple[float, float, str]]) -> None:
    prediction, weight, group = zip(*drawn, strict=True)
    found = measured(Judged(answers(np.ones(len(drawn)), prediction, weight=weight, group=group)), "share", draws=FEW)
    assert number(found["share"]) == pytest.approx(np.average(prediction, weights=weight))
    for name in set(group):
        mine = [i for i, other in enumerate(group) if other == name]
        if len(mine) > 1:
            expected = np.average([prediction[i] for i in mine], weights=[weight[i] for i in mine])
            assert number(found[f"share/{name}"]) == pytest.approx(expected)


def test_groups_are_told_apart() -> None:
    truth = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    prediction = [0.9, 0.8, 0.3, 0.4, 0.6, 0.2, 0.1, 0.7, 0.2, 0.6, 0.7, 0.1]
    group = ["top"] * 3 + ["q75"] * 3 + ["random"] * 3 + ["near-miss"] * 3
    found = measured(Judged(answers(truth, prediction, group=group)), "auroc")
    assert number(found["recall/top"]) == pytest.approx(2 / 3)
    assert number(found["recall/q75"]) == pytest.approx(1 / 3)
    assert number(found["specificity/random"]) == pytest.approx(2 / 3)
    assert number(found["specificity/near-miss"]) == pytest.approx(1 / 3)
    assert "recall/random" not in found
    assert "specificity/top" not in found
    # a group that fires against all that is silent, and the other way about
    assert number(found["auroc/top"]) == pytest.approx(roc_auc_score([1] * 3 + [0] * 6, prediction[:3] + prediction[6:]))
    assert number(found["auroc/near-miss"]) == pytest.approx(roc_auc_score([1] * 6 + [0] * 3, prediction[:6] + prediction[9:]))


def test_the_interval_is_over_documents_as_naive_resampling_gives_it() -> None:
    rng = np.random.default_rng(1)
    documents, each = 24, 5
    document = np.repeat(np.arange(documents), each)
    truth = (rng.random(documents) < 0.5)[document].astype(float)
    prediction = 1 / (1 + np.exp(-(truth + rng.normal(size=documents)[document] + 0.3 * rng.normal(size=len(document)) - 0.5)))
    weight = rng.random(len(document)) + 0.5
    judged = Judged(answers(truth, prediction, document=document, weight=weight))
    found = measured(judged, "auroc", draws=3000)
    naive: dict[str, list[float]] = {"auroc": [], "balanced_accuracy": [], "f1": [], "precision": [], "recall": []}
    for _ in range(1500):
        chosen = np.concatenate([np.flatnonzero(document == d) for d in rng.integers(documents, size=documents)])
        t, p, w = truth[chosen], prediction[chosen], weight[chosen]
        naive["auroc"].append(roc_auc_score(t, p, sample_weight=w))
        naive["balanced_accuracy"].append(balanced_accuracy_score(t, p > 0.5, sample_weight=w))
        three = precision_recall_fscore_support(t, p > 0.5, average="binary", sample_weight=w)
        for name, value_of in zip(("precision", "recall", "f1"), three, strict=False):
            naive[name].append(value_of)
    for name, values in naive.items():
        value = found[name]
        assert isinstance(value, Value)
        assert (value.low, value.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.035), name
    apart = measured(Judged(answers(truth, prediction, weight=weight)), "auroc", draws=1000)["auroc"]
    whole = found["auroc"]
    assert isinstance(apart, Value)
    assert isinstance(whole, Value)
    assert whole.high - whole.low > 1.3 * (apart.high - apart.low)


@pytest.mark.parametrize(("firing", "silent"), [(3, 9), (6, 6), (20, 12)])
def test_a_perfect_figure_is_no_more_certain_than_its_documents(firing: int, silent: int) -> None:
    truth = [1] * firing + [0] * silent
    found = measured(Judged(answers(truth, truth)), "auroc")
    pairs = min(firing, silent)
    bounds = {
        "auroc": 0.025 ** (1 / pairs),
        "recall": 0.025 ** (1 / firing),
        "precision": 0.025 ** (1 / firing),
        "f1": 0.025 ** (1 / pairs),
        "balanced_accuracy": 0.025 ** (1 / (2 * pairs)),
    }
    for name, bound in bounds.items():
        value = found[name]
        assert isinstance(value, Value)
        assert (value.value, value.high) == (1.0, 1.0)
        assert value.low == pytest.approx(bound), name
    reversed_ = measured(Judged(answers(truth, [1 - t for t in truth])), "auroc")["auroc"]
    assert isinstance(reversed_, Value)
    assert (reversed_.low, reversed_.value, reversed_.high) == pytest.approx((0, 0, 1 - bounds["auroc"]))


def test_the_bound_of_a_perfect_auroc_holds() -> None:
    # One firing item in q lies below everything, so that the AUROC is 1 - 1/q; all of m are above with (1 - 1/q)^m.
    rng = np.random.default_rng(2)
    m, true = 5, 0.5
    covered = 0
    for _ in range(300):
        prediction = np.r_[np.where(rng.random(m) < true, 0.9, 0.1), np.full(20, 0.5)]
        value = measured(Judged(answers([1] * m + [0] * 20, prediction)), "auroc", draws=50)["auroc"]
        covered += isinstance(value, Failed) or value.value < 1 or value.low <= true
    assert covered / 300 >= 0.95


def test_failures_are_left_out_up_to_a_share_and_then_fail_it_all() -> None:
    truth, prediction = [1, 0] * 10, [0.9, 0.2] * 10
    lost = Failed("ask", "no answer in the reply")
    allowed = int(MOST_FAILED * 20)
    some = [lost] * allowed + prediction[allowed:]
    value = measured(Judged(answers(truth, some)), "auroc")["auroc"]
    assert isinstance(value, Value)
    assert (value.value, value.n) == (1.0, 20 - allowed)
    more = [lost] * (allowed + 1) + prediction[allowed + 1 :]
    for measure in ("auroc", "pearson", "share"):
        found = measured(Judged(answers(truth, more)), measure)  # type: ignore[arg-type]
        assert found
        for failed in found.values():
            assert isinstance(failed, Failed)
            assert f"{allowed + 1} of 20" in failed.reason
            assert lost.reason in failed.reason


@pytest.mark.parametrize(
    ("truth", "prediction", "figure", "reason"),
    [
        ([1, 1, 1], [0.1, 0.2, 0.3], "auroc", "3 of 3 fire"),
        ([0, 0, 0], [0.1, 0.2, 0.3], "auroc", "0 of 3 fire"),
        ([1, 1, 1], [0.9, 0.2, 0.9], "balanced_accuracy", "3 of 3 fire"),
        ([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4], "precision", "said yes"),
        ([1, 0, 1, 0], [-3.0, 2.0, 1.0, 0.5], "recall", "probabilities"),
        ([1, 0, 1, 0], [float("nan"), 0.5, 0.5, 0.5], "auroc", "not finite"),
        ([], [], "auroc", "no items"),
        ([1, 0], [0.5, 0.2], "pearson", "resamples"),
        ([2, 2, 2], [0.5, 0.2, 0.1], "pearson", "truth is constant"),
        ([1, 0, 2], [0.5, 0.5, 0.5], "pearson", "prediction is constant"),
        ([1], [0.5], "share", "at least two"),
    ],
)
def test_what_is_not_defined_is_failed(truth: list[float], prediction: list[float], figure: str, reason: str) -> None:
    measure = figure if figure in ("pearson", "share") else "auroc"
    outcome = measured(Judged(answers(truth, prediction)), measure)[figure]  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    assert reason in outcome.reason


def test_order_alone_gives_an_auroc_and_no_yes() -> None:
    judged = Judged(answers([1, 0] * 10, [3.0, -2.0] * 10, group=["top", "random"] * 10))
    ranks = Judged(judged.answers, probabilities=False)
    assert set(measured(ranks, "auroc")) == {"auroc", "auroc/top", "auroc/random"}
    found = measured(judged, "auroc")
    assert number(found["auroc"]) == 1
    assert isinstance(found["f1"], Failed)


def test_intervals_allow_for_looks() -> None:
    rng = np.random.default_rng(4)
    told = answers([1, 0] * 20, rng.random(40))
    plain, wide = (measured(judged, "auroc", draws=4000)["auroc"] for judged in (Judged(told), Corrected(told, level=0.99)))
    assert isinstance(plain, Value)
    assert isinstance(wide, Value)
    assert wide.value == plain.value
    assert wide.low < plain.low < plain.high < wide.high


def test_precision_stands_beside_a_share() -> None:
    told = answers(np.ones(6), [1, 1, 0, 1, 1, 0])
    # weights: two items that fire stand for one excerpt each, three silent ones for ten each
    corpus = answers([1, 1, 0, 0, 0], [0.9, 0.2, 0.9, 0.1, 0.1], weight=[1, 1, 10, 10, 10])
    found = measured(Recalled(told, corpus=corpus), "share")
    assert number(found["share"]) == pytest.approx(4 / 6)
    precision = found["precision"]
    assert isinstance(precision, Failed) or precision.value == pytest.approx(1 / 11)
    more = answers([1, 0] * 20, [0.9, 0.9] * 20, weight=[1, 3] * 20)
    assert number(measured(Recalled(told, corpus=more), "share")["precision"]) == pytest.approx(1 / 4)
    assert "precision" not in measured(Judged(told), "share")


def test_wrong_use_is_told() -> None:
    with pytest.raises(ValueError, match="truths of 0 or 1"):
        measured(Judged(answers([0.5, 1], [0.1, 0.2])), "auroc")
    with pytest.raises(ValueError, match="choose one of auroc"):
        measured(Judged(answers([0, 1], [0.1, 0.2])), "r2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights"):
        measured(Judged(answers([0, 1], [0.1, 0.2], weight=[1, -1])), "auroc")


def test_a_difference_of_figures_that_cannot_vary_is_no_more_certain_than_they_are() -> None:
    truth = [1, 0] * 6
    perfect, blind = Judged(answers(truth, truth)), Judged(answers(truth, [0.5] * 12))
    bound = 0.025 ** (1 / 6)
    value, back = difference(perfect, blind, "auroc"), difference(blind, perfect, "auroc")
    assert isinstance(value, Value)
    assert isinstance(back, Value)
    assert (value.value, value.low, value.high) == pytest.approx((0.5, 0.5 - (1 - bound), 0.5))
    assert (back.value, back.low, back.high) == pytest.approx((-0.5, -0.5, -0.5 + (1 - bound)))
    worst = difference(perfect, Judged(answers(truth, [1 - t for t in truth])), "auroc")
    assert isinstance(worst, Value)
    assert (worst.low, worst.high) == pytest.approx((1 - np.hypot(1 - bound, 1 - bound), 1))
    # The same answers differ on no item, whatever is drawn.
    same = difference(perfect, perfect, "auroc")
    assert isinstance(same, Value)
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_a_difference_allows_for_the_looks_of_either() -> None:
    rng = np.random.default_rng(5)
    truth = [1, 0] * 20
    one, other = (answers(truth, rng.random(40)) for _ in range(2))
    plain = difference(Judged(one), Judged(other), "auroc", draws=4000)
    assert isinstance(plain, Value)
    for looked in ((Corrected(one, level=0.99), Judged(other)), (Judged(one), Corrected(other, level=0.99))):
        wide = difference(*looked, "auroc", draws=4000)
        assert isinstance(wide, Value)
        assert wide.value == plain.value
        assert wide.low < plain.low < plain.high < wide.high
