"""Scores against the published formulas, written out naively, and against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.explanation import Scale, Simulation
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scores import SCORES, Pairs, null_contrast, paired, score


def pairs(truth: Any, prediction: Any, present: Any = None, *, scale: Scale = "activation", tokens: int = 4) -> Pairs:
    """Excerpts of `tokens` tokens, two to a document."""
    t, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    excerpt = np.arange(len(t)) // tokens
    return Pairs(t, p, np.ones(len(t), bool) if present is None else np.asarray(present, bool), excerpt, np.unique(excerpt) // 2, scale)


def sparse(seed: int, n: int = 400) -> tuple[Any, Any]:
    """A spiky non-negative truth, and a prediction that is partly right."""
    rng = np.random.default_rng(seed)
    truth = np.maximum(rng.standard_t(3, n) - 1, 0)
    return truth, 0.5 * truth + rng.exponential(0.4, n)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_published_formulas(seed: int) -> None:
    from sklearn.metrics import r2_score

    t, p = sparse(seed)
    expected = {
        "pearson": np.corrcoef(t, p)[0, 1],
        "r2_uncentred": 1 - np.mean((t - p) ** 2) / np.mean(t**2),
        "r2_centred": r2_score(t, p),
        "absolute_deviation_explained": 1 - np.mean(np.abs(t - p)) / np.mean(np.abs(t)),
    }
    assert {name: score(name, pairs(t, p)) for name in SCORES} == pytest.approx(expected, abs=1e-12)


def test_formulas_of_one_name_in_the_literature_differ() -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import d2_absolute_error_score

    t, p = sparse(0)
    assert score("r2_uncentred", pairs(t, p)) != pytest.approx(score("r2_centred", pairs(t, p)), abs=0.05)
    # about the median of a truth that is mostly 0 the two agree; about that of a dense one they do not
    assert score("absolute_deviation_explained", pairs(t, p)) == pytest.approx(d2_absolute_error_score(t, p))
    assert score("absolute_deviation_explained", pairs(t + 1, p + 1)) != pytest.approx(d2_absolute_error_score(t + 1, p + 1), abs=0.05)
    # Pearson after a linear calibration on the scored tokens, as in Transluce's code: the sign is lost
    fitted = LinearRegression().fit(-p[:, None], t).predict(-p[:, None])
    assert score("pearson", pairs(t, fitted)) == pytest.approx(np.corrcoef(t, p)[0, 1])
    assert score("pearson", pairs(t, -p)) == pytest.approx(-np.corrcoef(t, p)[0, 1])


def test_perfect_reversed_and_shuffled_simulations() -> None:
    t, _ = sparse(1, 4000)
    assert [score(name, pairs(t, t)) for name in SCORES] == pytest.approx([1, 1, 1, 1])
    assert score("pearson", pairs(t, -t)) == pytest.approx(-1)
    shuffled = score("pearson", pairs(t, np.random.default_rng(0).permutation(t)))
    assert isinstance(shuffled, float)
    assert abs(shuffled) < 4 / np.sqrt(4000)


def test_missing_predictions_are_left_out_and_counted() -> None:
    t, p = sparse(2)
    present = np.random.default_rng(0).random(400) < 0.6
    with_holes = pairs(t, np.where(present, p, np.nan), present)
    for name in SCORES:
        assert score(name, with_holes) == pytest.approx(score(name, pairs(t[present], p[present])), abs=1e-12)
        assert score(name, with_holes) != pytest.approx(score(name, pairs(t, np.where(present, p, 0))), abs=1e-3)
    assert (with_holes.n, with_holes.missing) == (present.sum(), (~present).sum())


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("truth", "prediction", "present", "reason"),
    [
        ([0, 0, 0], [1, 2, 3], None, "truth is constant"),
        ([1, 2, 3], [5, 5, 5], None, "prediction is constant"),
        ([1, 2, 3], [0.1, np.float32(0.1), 0.1], None, "prediction is constant"),
        ([1, 2, 3], [1, 2, 3], [False] * 3, "no prediction for any of 3"),
        ([1, 2, np.nan], [1, 2, 3], None, "truth has 1 values that are not finite"),
        ([1, 2, np.inf], [1, 2, 3], [True, True, False], "truth has 1 values that are not finite"),
        ([1, 2, 3], [1, np.nan, np.inf], None, "prediction has 2 values that are not finite"),
        ([1, 2, 3], [1, 2, 3], [False, True, False], "constant"),
    ],
)
def test_what_is_undefined_is_failed(name: Any, truth: list[float], prediction: list[float], present: Any, reason: str) -> None:
    result = score(name, pairs(truth, prediction, present))
    assert isinstance(result, Failed)
    assert result.stage == "score"
    assert reason in result.reason


@pytest.mark.parametrize("scale", ["level", "indicator"])
def test_only_correlation_exists_without_the_unit_of_the_truth(scale: Scale) -> None:
    t, p = sparse(3)
    assert isinstance(score("pearson", pairs(t, p, scale=scale)), float)
    for name in SCORES[1:]:
        result = score(name, pairs(t, p, scale=scale))
        assert isinstance(result, Failed)
        assert f"on the {scale} scale need a calibration" in result.reason


numbers = st.lists(st.tuples(st.integers(0, 50), st.integers(-50, 50)), min_size=2, max_size=40)


@settings(deadline=None)
@given(numbers, st.floats(0.01, 100), st.floats(-100, 100))
def test_properties(rows: list[tuple[int, int]], factor: float, offset: float) -> None:
    t, p = np.array(rows, float).T
    r = score("pearson", pairs(t, p))
    if isinstance(r, Failed):
        assert np.ptp(t) == 0 or np.ptp(p) == 0
        return
    assert -1 <= r <= 1
    assert score("pearson", pairs(p, t)) == pytest.approx(r, abs=1e-9)
    assert score("pearson", pairs(t, factor * p + offset)) == pytest.approx(r, abs=1e-6)
    assert score("pearson", pairs(t, -p)) == pytest.approx(-r, abs=1e-9)
    for name in SCORES[1:]:
        scaled, plain = score(name, pairs(factor * t, factor * p)), score(name, pairs(t, p))
        assert isinstance(plain, float)
        assert scaled == pytest.approx(plain, rel=1e-9, abs=1e-9)
        assert plain <= 1


def excerpt(document: str, activations: list[float]) -> Excerpt:
    return Excerpt(document, 0, ("x",) * len(activations), np.array(activations, np.float32), "random")


def simulation(values: list[float], scale: Scale = "level", present: list[bool] | None = None) -> Simulation:
    return Simulation(np.array(values, np.float32), np.array(present or [True] * len(values)), scale)


def test_pairing_keeps_failed_simulations_as_missing_tokens() -> None:
    excerpts = [excerpt("a", [1, 0]), excerpt("b", [0, 2, 0]), excerpt("a", [3])]
    outcome = paired(excerpts, [simulation([9, 1], present=[True, False]), Failed("simulate", "refused"), simulation([4])])
    assert isinstance(outcome, Pairs)
    assert outcome.truth.tolist() == [1, 0, 0, 2, 0, 3]
    assert outcome.present.tolist() == [True, False, False, False, False, True]
    assert outcome.prediction[outcome.present].tolist() == [9, 4]
    assert outcome.excerpt.tolist() == [0, 0, 1, 1, 1, 2]
    assert outcome.document.tolist() == [0, 1, 0]
    assert (outcome.documents, outcome.n, outcome.missing, outcome.scale) == (2, 2, 4, "level")


def test_pairing_fails_when_nothing_was_simulated() -> None:
    outcome = paired([excerpt("a", [1, 0])] * 3, [Failed("simulate", "refused"), Failed("simulate", "no logprobs"), Failed("s", "refused")])
    assert outcome == Failed("score", "none of 3 excerpts was simulated: refused")
    assert isinstance(paired([], []), Failed)


def test_pairing_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError):
        paired([excerpt("a", [1, 0])], [simulation([1, 0, 0])])
    with pytest.raises(ValueError):
        paired([excerpt("a", [1, 0])], [simulation([1, 0]), simulation([1, 0])])
    with pytest.raises(ValueError):
        paired([excerpt("a", [1]), excerpt("a", [1])], [simulation([1]), simulation([1], "activation")])


def test_null_contrast_removes_a_prior_and_joins_the_gaps() -> None:
    rng = np.random.default_rng(0)
    t, prior = sparse(4)[0], 5 * rng.random(400)
    raw, null = pairs(t, t + prior, scale="level"), pairs(t, prior, rng.random(400) < 0.9, scale="level")
    contrast = null_contrast(raw, null)
    assert contrast.missing == null.missing > 0
    before = score("pearson", raw)
    assert isinstance(before, float)
    assert before < 0.7
    assert score("pearson", contrast) == pytest.approx(1)
    with pytest.raises(ValueError):
        null_contrast(raw, pairs(t + 1, prior, scale="level"))
    with pytest.raises(ValueError):
        null_contrast(raw, pairs(t, prior))
