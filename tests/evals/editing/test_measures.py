"""Figures of edits against counts by hand, naive formulas, and SciPy."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hmean

from analyzers.facts import Fact
from evals.editing.cases import Case
from evals.editing.measures import above, average, entropy, figures, harmonic
from evals.editing.results import Outcome
from evals.editing.sequence import marks
from evals.results import Failure, Value


def outcome(**changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "text": " Rome",
        "success": 1.0,
        "success_true": 0.0,
        "prefers": True,
        "logprob": -0.1,
        "logprob_true": -3.0,
        "rephrased": [1.0, 0.5],
        "rephrased_prefers": [True, False],
        "ported": {"Reasoning": [0.0, 1.0], "Aliasing": [1.0]},
        "kept": [1.0, 0.0],
        "neighbours": [True],
        "elsewhere": [[1], [2]],
        "written": "a b a b a",
        "seconds": 2.0,
    }
    return Outcome(**{**fields, **changes})


def case(reference: str | None = None) -> Case:
    return Case(Fact("Anna was born in", "Anna", " Rome", "1"), " Oslo", reference=reference)


def naive_entropy(words: list[str]) -> float:
    def of(n: int) -> float:
        counts = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
        total = sum(counts.values())
        return sum(count / total * math.log2(total / count) for count in counts.values()) if total else 0.0

    return float(np.mean([of(2) * 2 / 3, of(3) * 4 / 3]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["river", "bridge", "a", "7"]), max_size=30))
def test_entropy_equals_the_published_formula(words: list[str]) -> None:
    assert entropy(" ".join(words)) == pytest.approx(naive_entropy(words), abs=1e-9)


def test_entropy_by_hand() -> None:
    assert entropy("") == entropy("one two") == entropy("a a a a a") == 0.0
    # Pairs ab, ba, ab, ba: 1 bit; triples aba, bab, aba: log2(3) - 2/3.
    assert entropy("a b a b a") == pytest.approx((2 / 3 + 4 / 3 * (math.log2(3) - 2 / 3)) / 2)
    assert entropy("No, no!") == entropy("No , no !")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8), st.integers(0, 100))
def test_the_harmonic_mean_is_that_of_scipy(values: list[float], seed: int) -> None:
    x, y = np.array(values), np.array(values[::-1]) / 2
    weights = np.random.default_rng(seed).integers(1, 4, (3, len(values))).astype(float)
    got = harmonic([average(x), average(y)])(weights)
    means = [(weights @ each) / weights.sum(axis=1) for each in (x, y)]
    np.testing.assert_allclose(got, hmean(means, axis=0))
    assert float(harmonic([average(x), average(0 * y)])(weights)[0]) == 0.0


def test_every_measure_is_a_mean_over_edits() -> None:
    other = outcome(
        success=0.0, prefers=False, rephrased=[0.0], rephrased_prefers=[False], ported={}, kept=[1.0], neighbours=[False], written=""
    )
    found = figures([case()] * 3, [outcome(), other, outcome()])
    by_hand = {
        "edit_success": 2 / 3,
        "success_probability": 2 / 3,
        "generalisation": 0.5,
        "generalisation_probability": 1 / 3,
        "portability": 2 / 3,
        "portability/Reasoning": 0.5,
        "portability/Aliasing": 1.0,
        "locality": 2 / 3,
        "locality_probability": 2 / 3,
        "fluency": 2 / 3 * entropy("a b a b a"),
        "score": 3 / (3 / 2 + 2 + 3 / 2),
    }
    for name, value in by_hand.items():
        got = found[name]
        assert isinstance(got, Value), name
        assert got.value == pytest.approx(value), name
        assert got.low <= got.value <= got.high
        assert got.n == (2 if name.startswith("portability") else 3)
    assert found["consistency"] == Failure(stage="measure", reason="none in the file")


def test_what_the_file_does_not_have_is_a_failure() -> None:
    bare = outcome(
        prefers=None,
        success_true=None,
        logprob_true=None,
        rephrased=[],
        rephrased_prefers=[],
        ported={},
        kept=[],
        neighbours=[],
        written=None,
    )
    found = figures([case()] * 2, [bare] * 2)
    assert {name for name, each in found.items() if isinstance(each, Value)} == {"edit_success"}
    assert "generalisation: no rephrase in the file" in found["score"].reason  # type: ignore[union-attr]
    one = figures([case()], [outcome()])["edit_success"]
    assert isinstance(one, Failure)  # an interval over one edit is none


def test_consistency_is_higher_where_words_are_shared() -> None:
    cases = [case("she sang in the opera of rome"), case("he worked in a mill")]
    same = figures(cases, [outcome(written="she sang in the opera of rome"), outcome(written="he worked in a mill")])["consistency"]
    crossed = figures(cases, [outcome(written="he worked in a mill"), outcome(written="she sang in the opera of rome")])["consistency"]
    assert isinstance(same, Value)
    assert isinstance(crossed, Value)
    assert same.value == pytest.approx(1)
    assert crossed.value < 0.5


def test_lifts_are_paired() -> None:
    ours, theirs = [outcome()] * 4, [outcome(success=each) for each in (0.0, 0.0, 0.5, 0.5)]
    lift = above(ours, {"random": theirs})["random"]
    assert isinstance(lift, Value)
    assert lift.value == pytest.approx(0.75)


def test_marks_end_with_the_last_edit() -> None:
    assert marks(1) == [1]
    assert marks(5) == [1, 2, 5]
    assert marks(12) == [1, 2, 5, 10, 12]
