"""The formulas against a naive computation written from their definitions, and against what must hold of a planted model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from agents.beliefs import Belief
from analyzers.errors import Failed
from analyzers.units import Kept
from evals.audit.faithfulness import BETTER, METRICS, Believes, MetricName, Ranking, deletions
from evals.audit.faithfulness import measure as measured_

LABELS = ("bad", "good")


def measure(ranking: Ranking, believes: Believes) -> dict[MetricName, float | Failed]:
    return measured_(ranking, believes, deletions(len(ranking.order), believes))


def planted(weights: list[float], bias: float = 0.0) -> Believes:
    """A logistic model whose units add their weights."""

    def believes(kept: Kept) -> Belief:
        p = 1 / (1 + math.exp(-bias - sum(weights[unit] for unit in kept)))
        return Belief("good" if p > 0.5 else "bad", {"good": p, "bad": 1 - p})

    return believes


def naive(values: list[float], order: list[int], believes: Believes) -> dict[str, float]:
    """By the definitions, one text at a time."""
    n = len(order)
    whole = believes(frozenset(range(n)))
    assert isinstance(whole, Belief)
    assert whole.label is not None

    def f(kept: set[int]) -> float:
        belief = believes(frozenset(kept))
        assert isinstance(belief, Belief)
        return belief.probabilities[str(whole.label)]

    def says(kept: set[int]) -> str | None:
        belief = believes(frozenset(kept))
        assert isinstance(belief, Belief)
        return belief.label

    x = set(range(n))
    flips = [taken for taken in range(1, n + 1) if says(x - set(order[:taken])) != whole.label]
    return {
        "comprehensiveness": sum(f(x) - f(x - set(order[:taken])) for taken in range(n + 1)) / (n + 1),
        "sufficiency": sum(f(x) - f(set(order[:taken])) for taken in range(n + 1)) / (n + 1),
        "df_mit": float(says(x - {order[0]}) != whole.label),
        "df_frac": flips[0] / n if flips else 1.0,
        "deletion_rank": spearmanr(values, [f(x) - f(x - {unit}) for unit in range(n)]).statistic,
        "aopc": sum(f(x) - f(x - set(order[:taken])) for taken in range(1, n + 1)) / n,
    }


weights_of = st.lists(st.floats(-3, 3).map(lambda value: round(value, 2)), min_size=2, max_size=8, unique=True)


@given(weights=weights_of, seed=st.integers(0, 2**16), bias=st.floats(-1, 1))
@settings(max_examples=150, deadline=None)
def test_equal_to_the_definitions(weights: list[float], seed: int, bias: float) -> None:
    rng = np.random.default_rng(seed)
    believes = planted(weights, bias)
    said = rng.permutation(len(weights)).tolist()
    ranking = Ranking.of([float(value) for value in said], rng)
    found, expected = measure(ranking, believes), naive(list(ranking.values), list(ranking.order), believes)
    assert set(found) == set(METRICS) - {"naopc"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@given(weights=weights_of, seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_the_true_weights_are_the_most_faithful_ranking_of_an_additive_model(weights: list[float], seed: int) -> None:
    believes = planted(weights)
    whole = believes(frozenset(range(len(weights))))
    assert isinstance(whole, Belief)
    sign = 1 if whole.label == "good" else -1
    rng = np.random.default_rng(seed)
    honest = measure(Ranking.of([sign * weight for weight in weights], rng), believes)
    other = measure(Ranking.of(rng.normal(size=len(weights)).tolist(), rng), believes)
    for name in ("comprehensiveness", "sufficiency"):
        mine, theirs = honest[name], other[name]
        assert isinstance(mine, float)
        assert isinstance(theirs, float)
        assert BETTER[name] * mine >= BETTER[name] * theirs - 1e-12
    assert honest["deletion_rank"] == pytest.approx(1)


def test_both_labels_are_signed_alike() -> None:
    weights = [2.0, -0.5, 1.0, 0.25]
    mirrored = [-weight for weight in weights]
    ranking = Ranking((2.0, -0.5, 1.0, 0.25), (0, 2, 3, 1))
    assert measure(ranking, planted(weights)) == pytest.approx(measure(ranking, planted(mirrored)))


def test_ties_are_broken_by_draws_and_nothing_else() -> None:
    orders = {Ranking.of([1.0, 0.0, 0.0, 0.0], np.random.default_rng(seed)).order for seed in range(40)}
    assert all(order[0] == 0 for order in orders)
    assert len(orders) == 6
    assert Ranking.of([0.0, 1.0], np.random.default_rng(1)).values == (0.0, 1.0)


def test_a_missing_answer_fails_what_needs_it_and_only_that() -> None:
    believes = planted([1.0, 0.5, -0.25])
    ranking = Ranking((0.1, 0.2, 0.3), (2, 1, 0))
    refused = Failed("ask", "refused")

    def failing(gap: Kept) -> set[str]:
        found = measure(ranking, lambda kept: refused if kept == gap else believes(kept))
        return {name for name, value in found.items() if value == refused}

    assert failing(frozenset({0, 1, 2})) == set(METRICS) - {"naopc"}
    assert failing(frozenset({0, 1})) == {"comprehensiveness", "df_mit", "df_frac", "deletion_rank", "aopc"}
    assert failing(frozenset({0})) == {"comprehensiveness", "df_frac", "aopc"}
    assert failing(frozenset({1, 2})) == {"sufficiency", "deletion_rank"}
    assert failing(frozenset({0, 2})) == {"deletion_rank"}
    assert failing(frozenset({1})) == set()


def test_nothing_ranked_is_no_correlation() -> None:
    found = measure(Ranking((0.5, 0.5), (0, 1)), planted([1.0, 2.0]))
    assert found["deletion_rank"] == Failed("score", "all attributions are equal")
    flat = measure(Ranking((0.5, 0.1), (0, 1)), planted([0.0, 0.0], bias=1.0))
    assert flat["deletion_rank"] == Failed("score", "all effects of the deletions are equal")
    assert flat["comprehensiveness"] == 0
    assert flat["df_frac"] == 1


def test_an_undecided_answer_is_no_flip() -> None:
    def believes(kept: Kept) -> Belief:
        return Belief.stated("good", 0.9, LABELS) if kept else Belief.undecided(LABELS)

    found = measure(Ranking((1.0, 0.0), (0, 1)), believes)
    assert found["df_frac"] == 1
    assert found["comprehensiveness"] == pytest.approx((0.9 - 0.5) / 3)


def test_a_stated_confidence_is_shared_among_the_other_labels() -> None:
    belief = Belief.stated("b", 0.4, ("a", "b", "c"))
    assert belief.probabilities == pytest.approx({"a": 0.3, "b": 0.4, "c": 0.3})
    assert sum(belief.probabilities.values()) == pytest.approx(1)
