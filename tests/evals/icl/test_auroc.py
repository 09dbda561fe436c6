"""The mean AUROC over classes against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evals.icl.auroc import mean_auroc


@given(
    rows=st.lists(
        st.tuples(st.lists(st.integers(0, 4), min_size=3, max_size=3), st.integers(0, 2), st.integers(1, 3)), min_size=4, max_size=12
    )
)
def test_it_is_that_of_scikit_learn_over_shares(rows: list[tuple[list[int], int, int]]) -> None:
    """Weights of units are repetitions of their items."""
    values, chosen, times = np.array([row[0] for row in rows], np.float64), np.array([row[1] for row in rows]), [row[2] for row in rows]
    assume(values.sum(1).min() > 0 and set(chosen) == {0, 1, 2})
    found = mean_auroc(values, chosen, list(range(len(rows))))(np.array([[1.0] * len(rows), times]))
    shares = values / values.sum(1, keepdims=True)
    for place, repeated in enumerate([[1] * len(rows), times]):
        index = np.repeat(np.arange(len(rows)), repeated)
        # Not its multi-class mode: that has no room for shares that rounding moves off 1.
        expected = [roc_auc_score(chosen[index] == label, shares[index, label]) for label in range(3)]
        assert found[place] == pytest.approx(np.mean(expected))


def test_items_of_one_unit_go_together_and_classes_that_are_never_chosen_are_left_out() -> None:
    values, chosen = np.array([[3.0, 1, 0], [1, 3, 0], [2, 1, 0]]), np.array([0, 1, 0])
    of = mean_auroc(values, chosen, [5, 7, 7])
    assert of(np.array([[1.0, 1]])) == pytest.approx(1.0)
    assert np.ma.getmaskarray(of(np.array([[2.0, 0]]))).all()


def test_two_classes_are_one_column() -> None:
    values = np.array([[3.0, 1], [1, 2], [1, 5], [2, 2]])
    chosen = np.array([0, 0, 1, 1])
    share = values[:, 1] / values.sum(1)
    assert mean_auroc(values, chosen, [0, 1, 2, 3])(np.ones((1, 4))) == pytest.approx(roc_auc_score(chosen, share))


def test_items_without_any_number_are_left_out() -> None:
    """Such an item foretells nothing, and a share of its own among those of others would win or lose contests."""
    values, chosen = np.array([[3.0, 1, 1], [0, 0, 0], [1, 3, 2], [0, 0, 0], [2, 2, 3]]), np.array([0, 1, 1, 2, 2])
    some = values.sum(1) > 0
    weights = np.array([[1.0] * 5, [2, 7, 1, 3, 1]])
    found = mean_auroc(values, chosen, list(range(5)))(weights)
    without = mean_auroc(values[some], chosen[some], list(range(3)))(weights[:, some])
    assert not np.ma.getmaskarray(found).any()
    assert found.data == pytest.approx(without.data)
    assert np.ma.getmaskarray(mean_auroc(np.zeros((2, 2)), np.array([0, 1]), [0, 1])(np.ones((1, 2)))).all()
