"""What scores that were made up are worth, beside loops that are written out and other libraries."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from analyzers.errors import Failed
from evals.influence.baselines import Floats
from evals.influence.evaluate_results import Measure
from evals.influence.known_truth import (
    TOP,
    Scores,
    apart,
    compared,
    datamodelling,
    mislabelled,
    of_others,
    other_queries,
    preferred,
    prefilter_recall,
    recall,
)
from evals.influence.prefilter import SHARES
from evals.results import Failure, Value

RNG = np.random.default_rng(0)
GONE = Failed("baseline", "it was not there")
TOLD = Failure(stage="baseline", reason="it was not there")
SMALL = settings(deadline=None, max_examples=30)


def value(found: Value | Failure) -> float:
    assert isinstance(found, Value), found
    return found.value


def width(found: Value | Failure) -> float:
    assert isinstance(found, Value), found
    return found.high - found.low


def table(rows: int, columns: int) -> st.SearchStrategy[Floats]:
    """Of few different numbers, so that many are equal."""
    row = st.lists(st.integers(-2, 2).map(float), min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows).map(np.array)


@SMALL
@given(data=st.data())
def test_recall_is_the_share_of_answers_whose_place_is_among_the_first(data: st.DataObject) -> None:
    scores, answers = data.draw(table(4, 13)), data.draw(st.lists(st.integers(0, 12), min_size=4, max_size=4))
    found = recall({"ekfac": scores, "random": -scores}, answers)
    assert list(found) == ["recall_at_1", "recall_at_5", "recall_at_10"]
    for k in (1, 5, 10):
        hits: dict[str, list[int]] = {"ekfac": [], "random": []}
        for name, sign in (("ekfac", 1), ("random", -1)):
            for row, answer in zip(scores.tolist(), answers, strict=True):
                better = sum(sign * other > sign * row[answer] for other in row)
                equal = sum(other == row[answer] for other in row)
                # In the middle of those that are equal.
                hits[name].append(better + (equal + 1) / 2 <= k)
        measure = found[f"recall_at_{k}"]
        assert value(measure.figures["ekfac"]) == pytest.approx(sum(hits["ekfac"]) / 4)
        assert value(measure.lifts["random"]) == pytest.approx((sum(hits["ekfac"]) - sum(hits["random"])) / 4)
        assert (measure.over, measure.chance) == ("queries", pytest.approx(k / 13))


def test_recall_by_chance_is_no_more_than_all() -> None:
    found = recall({"ekfac": np.eye(2, 4)}, [0, 1])
    assert [found[f"recall_at_{k}"].chance for k in (1, 5, 10)] == [0.25, 1, 1]


def test_what_is_compared_is_paired() -> None:
    """Where a method differs by the same from the first one on every item, that difference is sure, though neither figure is."""
    ours = RNG.normal(size=12)
    found = compared({"ekfac": ours, "bm25": ours - 1, "random": RNG.normal(size=12)}, over="queries", chance=None)
    assert list(found.lifts) == ["bm25", "random"]
    assert value(found.lifts["bm25"]) == pytest.approx(1)
    assert width(found.lifts["bm25"]) == pytest.approx(0, abs=1e-9)
    assert width(found.figures["ekfac"]) > 0.5
    assert value(found.figures["random"]) == pytest.approx(value(found.figures["ekfac"]) - value(found.lifts["random"]))


HALVES = RNG.random((12, 30)) < 0.5
SAID = HALVES @ RNG.normal(size=(6, 30)).T + RNG.normal(size=(12, 6))
EXCHANGED = [number % 5 == 0 for number in range(20)]
MEASURES: list[tuple[str, tuple[int, int] | tuple[int], Callable[[Scores], Measure]]] = [
    ("recall", (6, 30), lambda scores: recall(scores, range(6))["recall_at_5"]),
    ("lds", (6, 30), lambda scores: datamodelling(scores, HALVES, SAID)),
    ("mislabelled", (20,), lambda scores: mislabelled(scores, EXCHANGED)),
    ("preferred", (6, 12), preferred),
]


@pytest.mark.parametrize(("shape", "measure"), [each[1:] for each in MEASURES], ids=[each[0] for each in MEASURES])
def test_what_failed_stays_so(shape: Sequence[int], measure: Callable[[Scores], Measure]) -> None:
    ours, other = RNG.normal(size=shape), RNG.normal(size=shape)
    found = measure({"ekfac": ours, "embedding": GONE, "bm25": other})
    assert [name for name in found.figures if name != "other_queries"] == ["ekfac", "embedding", "bm25"]
    assert found.figures["embedding"] == found.lifts["embedding"] == TOLD
    assert isinstance(found.figures["ekfac"], Value)
    assert isinstance(found.lifts["bm25"], Value)
    assert "ekfac" not in found.lifts
    without = measure({"ekfac": ours, "bm25": other})
    assert (found.figures["bm25"], found.lifts["bm25"]) == (without.figures["bm25"], without.lifts["bm25"])
    # Where the first one failed, nothing lies above or below it.
    behind = measure({"ekfac": GONE, "embedding": GONE, "bm25": other})
    assert behind.figures["ekfac"] == TOLD
    assert behind.figures["bm25"] == found.figures["bm25"]
    assert behind.lifts == {"embedding": TOLD, "bm25": TOLD}
    assert "other_queries" not in behind.figures


def test_datamodelling_is_spearman_s_over_trainings() -> None:
    truth = RNG.normal(size=(5, 30))
    said = HALVES @ truth.T
    noisy = truth + RNG.normal(size=truth.shape)
    found = datamodelling({"ekfac": truth, "bm25": noisy, "random": -truth}, HALVES, np.exp(said))
    assert value(found.figures["ekfac"]) == pytest.approx(1)
    assert value(found.figures["random"]) == pytest.approx(-1)
    naive = [spearmanr([noisy[at][half].sum() for half in HALVES], said[:, at]).statistic for at in range(5)]
    assert value(found.figures["bm25"]) == pytest.approx(float(np.mean(naive)))
    assert value(found.lifts["bm25"]) == pytest.approx(1 - float(np.mean(naive)))
    assert isinstance(each := found.figures["ekfac"], Value)
    assert (each.n, found.over, found.chance) == (5, "queries and trainings", 0)


def test_scores_that_rank_no_training_are_worth_what_chance_is() -> None:
    truth = RNG.normal(size=(4, 30))
    blind = truth * np.array([[1.0], [1.0], [0.0], [1.0]])
    found = datamodelling({"ekfac": truth, "bm25": blind}, HALVES, HALVES @ truth.T)
    assert value(found.figures["bm25"]) == pytest.approx(0.75)


def test_an_interval_of_the_datamodelling_score_draws_trainings_as_well_as_queries() -> None:
    """Queries that all say the same differ in nothing: what is unsure is which trainings were made."""
    rng = np.random.default_rng(1)
    row = rng.normal(size=30)
    said = HALVES @ row + 2 * rng.normal(size=12)
    alike = datamodelling({"ekfac": np.tile(row, (6, 1))}, HALVES, np.tile(said[:, None], (1, 6))).figures["ekfac"]
    assert isinstance(alike, Value)
    each = spearmanr(HALVES @ row, said).statistic
    assert alike.value == pytest.approx(each)
    assert alike.low < each - 0.1
    # As wide as drawing both by a loop makes it, and wider than of either alone.
    rows = rng.normal(size=(6, 30))
    expected = HALVES @ rows.T
    found = datamodelling({"ekfac": rows}, HALVES, SAID).figures["ekfac"]
    drawn: dict[str, list[float]] = {"both": [], "queries": [], "trainings": []}
    for _ in range(300):
        trainings, queries = rng.integers(12, size=12), rng.integers(6, size=6)
        for name, these, those in (("both", trainings, queries), ("queries", range(12), queries), ("trainings", trainings, range(6))):
            one = [spearmanr(expected[list(these), at], SAID[list(these), at]).statistic for at in range(6)]
            drawn[name].append(float(np.mean([one[at] for at in those])))
    widths = {name: float(np.diff(np.quantile(of, [0.025, 0.975]))[0]) for name, of in drawn.items()}
    assert width(found) == pytest.approx(widths["both"], rel=0.25)
    assert width(found) > widths["queries"]
    assert width(found) > widths["trainings"]


@SMALL
@given(data=st.data())
def test_exchanged_labels_are_told_from_others_pair_by_pair(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.integers(-3, 3).map(float), min_size=20, max_size=20))
    found = mislabelled({"ekfac": np.array(lines), "surprisal": -np.array(lines)}, EXCHANGED)
    pairs = [(one, other) for one, wrong in zip(lines, EXCHANGED, strict=True) if wrong for other in _right(lines)]
    counted = sum((one > other) + 0.5 * (one == other) for one, other in pairs) / len(pairs)
    assert value(found.figures["ekfac"]) == pytest.approx(counted)
    assert value(found.figures["ekfac"]) == pytest.approx(roc_auc_score(EXCHANGED, lines))
    assert value(found.figures["surprisal"]) == pytest.approx(1 - counted)
    assert value(found.lifts["surprisal"]) == pytest.approx(2 * counted - 1, abs=1e-9)
    assert (found.over, found.chance) == ("lines", 0.5)


def _right(lines: Sequence[float]) -> list[float]:
    return [line for line, wrong in zip(lines, EXCHANGED, strict=True) if not wrong]


def test_no_exchanged_label_is_no_chance() -> None:
    found = mislabelled({"ekfac": np.arange(20.0)}, [False] * 20)
    assert isinstance(found.figures["ekfac"], Failure)


@SMALL
@given(data=st.data())
def test_what_lies_apart_is_in_units_of_the_text(data: st.DataObject) -> None:
    scores, inside = data.draw(table(3, 6)), data.draw(table(3, 5))
    found = apart({"ekfac": scores, "bm25": 2 * scores}, {"ekfac": inside, "bm25": 4 * inside}, ("same", "flipped"))
    ones, others = [], []
    for query in range(3):
        size = (sum(each**2 for each in inside[query].tolist()) / 5) ** 0.5
        ones.append(float(scores[query, query]) / (size or 1))
        others.append(float(scores[query, 3 + query]) / (size or 1))
    assert value(found.figures["ekfac_same"]) == pytest.approx(sum(ones) / 3)
    assert value(found.figures["ekfac_flipped"]) == pytest.approx(sum(others) / 3)
    assert value(found.figures["ekfac"]) == pytest.approx((sum(ones) - sum(others)) / 3, abs=1e-9)
    assert list(found.figures) == ["ekfac", "bm25", "ekfac_same", "ekfac_flipped", "bm25_same", "bm25_flipped"]
    if inside.any(axis=1).all():
        assert value(found.figures["bm25"]) == pytest.approx(value(found.figures["ekfac"]) / 2, abs=1e-9)
    assert (found.lifts, found.over, found.chance) == ({}, "pairs", 0)


def test_apart_is_paired() -> None:
    inside = np.full((3, 10), 2.0)
    same, flipped = np.diag([8.0, 6.0, 4.0]), np.diag([6.0, 4.0, 2.0])
    found = apart({"ekfac": np.concatenate([same, flipped], axis=1)}, {"ekfac": inside}, ("same", "flipped"))
    assert [value(found.figures[f"ekfac{end}"]) for end in ("", "_same", "_flipped")] == pytest.approx([1, 3, 2])
    assert width(found.figures["ekfac"]) == 0
    assert width(found.figures["ekfac_same"]) > 0.5


def test_what_failed_is_not_apart() -> None:
    scores, inside = RNG.normal(size=(3, 6)), RNG.normal(size=(3, 5))
    other = Failed("baseline", "nor was this")
    found = apart(
        {"ekfac": scores, "embedding": GONE, "bm25": scores, "both": GONE},
        {"ekfac": inside, "embedding": inside, "bm25": other, "both": other},
        ("same", "flipped"),
    )
    assert found.figures["embedding"] == found.figures["both"] == TOLD
    assert found.figures["bm25"] == Failure(stage="baseline", reason="nor was this")
    assert set(found.figures) == {"ekfac", "embedding", "bm25", "both", "ekfac_same", "ekfac_flipped"}


@SMALL
@given(data=st.data())
def test_what_is_preferred_is_counted_and_so_is_what_says_nothing_of_the_query(data: st.DataObject) -> None:
    scores = data.draw(table(4, 8))
    found = preferred({"ekfac": scores, "random": -scores})
    more = [[(row[pair] > row[4 + pair]) + 0.5 * (row[pair] == row[4 + pair]) for pair in range(4)] for row in scores.tolist()]
    own = [more[pair][pair] for pair in range(4)]
    others = [more[query][pair] for pair in range(4) for query in range(4) if query != pair]
    assert value(found.figures["ekfac"]) == pytest.approx(sum(own) / 4)
    assert value(found.figures["random"]) == pytest.approx(1 - sum(own) / 4)
    assert value(found.figures["other_queries"]) == pytest.approx(sum(others) / 12)
    by_pair = [sum(more[query][pair] for query in range(4) if query != pair) / 3 for pair in range(4)]
    np.testing.assert_allclose(other_queries(scores), by_pair)
    means = [[sum(scores[other, column] for other in range(4) if other != query) / 3 for column in range(8)] for query in range(4)]
    np.testing.assert_allclose(of_others(scores), means, atol=1e-12)
    assert value(found.lifts["other_queries"]) == pytest.approx(sum(own) / 4 - sum(others) / 12, abs=1e-9)
    assert (found.over, found.chance) == ("pairs", 0.5)


def test_a_passage_that_moves_all_is_preferred_and_says_so() -> None:
    """The lift over other queries is zero where a ranking knows nothing of the query, and sure to be."""
    general = np.tile([5.0, 4.0, 3.0, 0.0, 0.0, 0.0], (3, 1))
    found = preferred({"ekfac": general})
    assert value(found.figures["ekfac"]) == 1
    assert value(found.lifts["other_queries"]) == width(found.lifts["other_queries"]) == 0
    own = preferred({"ekfac": np.concatenate([2 * np.eye(3), np.ones((3, 3))], axis=1)})
    assert (value(own.figures["ekfac"]), value(own.figures["other_queries"])) == (1, 0)


def test_of_a_single_pair_there_are_no_other_queries_and_no_interval() -> None:
    found = preferred({"ekfac": np.array([[2.0, 1.0]]), "random": np.array([[0.0, 1.0]])})
    assert list(found.figures) == ["ekfac", "random"]
    assert list(found.lifts) == ["random"]
    for each in (*found.figures.values(), *found.lifts.values()):
        assert isinstance(each, Failure)
        assert "at least two" in each.reason


def test_a_prefilter_is_worth_what_it_keeps_of_the_top() -> None:
    influence, near = RNG.normal(size=(5, 40)), RNG.normal(size=(5, 40))
    found = prefilter_recall(influence, near)
    assert list(found.figures) == [f"{share:g}" for share in SHARES]
    for share in SHARES:
        each = []
        for ours, words in zip(influence, near, strict=True):
            left = [place for place in range(40) if rankdata(-words)[place] <= share * 40]
            each.append(sum(rankdata(-ours)[place] <= TOP for place in left) / TOP)
        assert value(found.figures[f"{share:g}"]) == pytest.approx(float(np.mean(each)))
    assert (found.lifts, found.over) == ({}, "queries")
    ours: Any = np.tile(np.arange(100.0), (4, 1))
    assert [value(prefilter_recall(ours, ours).figures[name]) for name in ("0.05", "0.1", "0.5")] == [0.5, 1, 1]
    assert [value(prefilter_recall(ours, -ours).figures[name]) for name in ("0.05", "0.5")] == [0, 0]


def test_figures_hang_on_the_seed_alone() -> None:
    scores: Scores = {"ekfac": RNG.normal(size=(6, 30)), "bm25": RNG.normal(size=(6, 30))}
    assert datamodelling(scores, HALVES, SAID, seed=1) == datamodelling(scores, HALVES, SAID, seed=1)
    assert datamodelling(scores, HALVES, SAID, seed=1) != datamodelling(scores, HALVES, SAID, seed=2)
