"""The planted predictor against definitions written out: Shapley values over all sets, texts made by leaving words out."""

from itertools import combinations
from math import exp, factorial, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyzers.perturbations import OPERATORS
from analyzers.units import Kept, words
from evals.audit.planted_predictor import (
    BIAS,
    CLEAR,
    EXPLAINERS,
    LABELS,
    LONGEST,
    PAIR,
    SHORTEST,
    STRONG,
    TOGETHER,
    WEAK,
    WEIGHTS,
    PlantedItem,
    belief,
    draw,
    log_odds,
)

some_items = st.integers(0, 10_000).map(lambda seed: draw(4, seed))


def odds(item: PlantedItem, kept: Kept) -> float:
    """Of the predicted label."""
    probability = item.believes(kept).probabilities[item.label]
    return log(probability / (1 - probability))


def by_definition(item: PlantedItem) -> list[float]:
    """Shapley values: what a unit adds to every set of the others, weighed by the orders in which they come before it."""
    n = len(item.words)
    values = []
    for unit in range(n):
        others = [other for other in range(n) if other != unit]
        values.append(
            sum(
                factorial(size)
                * factorial(n - size - 1)
                / factorial(n)
                * (odds(item, frozenset({*some, unit})) - odds(item, frozenset(some)))
                for size in range(n)
                for some in combinations(others, size)
            )
        )
    return values


@given(some_items)
@settings(deadline=None, max_examples=15)
def test_the_exact_shapley_values_are_those_of_the_definition(items: list[PlantedItem]) -> None:
    for item in items:
        short = PlantedItem(item.words[:8])
        np.testing.assert_allclose(short.shapley, by_definition(short), atol=1e-9)
        # Of the whole they are too many sets; the sum of the values is known.
        everything = frozenset(range(len(item.words)))
        assert sum(item.shapley) == pytest.approx(odds(item, everything) - odds(item, frozenset()))


@given(some_items)
@settings(deadline=None)
def test_the_effects_are_those_of_leaving_one_word_out(items: list[PlantedItem]) -> None:
    for item in items:
        everything = frozenset(range(len(item.words)))
        alone = [odds(item, everything) - odds(item, everything - {unit}) for unit in everything]
        np.testing.assert_allclose(item.effects, alone, atol=1e-9)
        # The term of the pair is lost with either of its words, so it counts twice here.
        assert sum(item.effects) - sum(item.shapley) == pytest.approx(
            (TOGETHER if item.pair else 0) * (1 if item.label == LABELS[0] else -1)
        )


def test_a_belief_is_the_sigmoid_of_bias_weights_and_pair() -> None:
    def positive(text: str) -> float:
        found = belief(text)
        assert sum(found.probabilities.values()) == pytest.approx(1)
        assert found.label == max(found.probabilities, key=lambda label: found.probabilities[label])
        return found.probabilities["positive"]

    def sigmoid(x: float) -> float:
        return 1 / (1 + exp(-x))

    assert positive("") == pytest.approx(sigmoid(BIAS))
    assert positive("It was superb!") == pytest.approx(sigmoid(BIAS + 1.9))
    assert positive("boring") == pytest.approx(sigmoid(BIAS - 1.5))
    assert positive("Not at all BORING, zyx") == pytest.approx(sigmoid(BIAS - 1.5 + 0.2 + TOGETHER))
    assert positive("boring, and not not it") == pytest.approx(sigmoid(BIAS - 1.5 + 0.4 + TOGETHER + WEIGHTS["and"]))
    assert positive("[MASK] unheard-of superbly") == positive("")


@given(some_items, st.data())
@settings(deadline=None)
def test_a_written_text_is_answered_like_its_units(items: list[PlantedItem], data: st.DataObject) -> None:
    for item in items:
        units = words(item.text)
        assert units.texts == item.words
        kept = frozenset(data.draw(st.sets(st.integers(0, len(units) - 1))))
        out = [unit for unit in range(len(units)) if unit not in kept]
        rng = np.random.default_rng(0)
        for name in ("delete", "mask"):
            operator = OPERATORS.get(name)
            written = units.written({unit: operator(units, unit, units.texts, rng) for unit in out})
            assert belief(written) == item.believes(kept)


def test_items_are_drawn_as_promised() -> None:
    items = draw(200, 3)
    assert items == draw(200, 3)
    assert items != draw(200, 4)
    assert {len(item.words) for item in items} == set(range(SHORTEST, LONGEST + 1))
    assert [item.label for item in items].count(LABELS[0]) == 100
    assert sum(bool(item.pair) for item in items) == 100
    for number, item in enumerate(items):
        assert len(set(item.words)) == len(item.words)
        assert all(item.words[unit] in PAIR for unit in item.pair)
        assert bool(item.pair) == (number % 2 == 0)
        assert item.believes(frozenset(range(len(item.words)))).label == item.label
        assert abs(log_odds(item.words)) >= CLEAR
    drawn = [word for item in items for word in item.words]
    assert sum(word in WEAK for word in drawn) > len(drawn) / 2
    assert max(map(abs, WEAK.values())) < min(abs(STRONG[word]) for word in STRONG if word != "not") / 5
    assert set(drawn) == set(WEIGHTS)


def test_explainers_know_what_they_are_said_to_know() -> None:
    rng = np.random.default_rng(0)
    known: dict[str, list[float]] = {name: [] for name in EXPLAINERS}
    for item in draw(300, 1):
        exact = item.shapley.tolist()
        said = {name: explain(item, rng).tolist() for name, explain in EXPLAINERS.items()}
        assert said["honest"] == exact
        assert said["reversed"] == [-value for value in exact]
        assert len(set(said["mentions everything"])) == 1
        assert {len(values) for values in said.values()} == {len(exact)}
        for name in ("half-honest", "random"):
            assert sorted(said[name]) == sorted(exact)
        assert sum(a != b for a, b in zip(said["half-honest"], exact, strict=True)) <= len(exact) // 2
        for name in ("half-honest", "random"):
            known[name].append(float(spearmanr(said[name], exact).statistic))
    assert np.mean(known["random"]) == pytest.approx(0, abs=0.06)
    assert 0.3 < np.mean(known["half-honest"]) < 0.7
