"""Intervals of the measures of trees against the same bootstrap written as loops over drawn sentences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.probes.tree_measures import TreeScores
from evals.probes.results import Lift
from evals.probes.tree_scores import MEASURES, metrics, statistics, uuas_lift
from evals.results import Failure, Value


def made(sentences: int, seed: int = 0, **changes: object) -> TreeScores:
    rng = np.random.default_rng(seed)
    edges = rng.integers(1, 9, sentences).astype(float)
    apart = np.floor(edges / 2)
    length = rng.integers(4, 9, sentences)
    fields: dict[str, object] = {
        "length": length,
        "edges": edges,
        "correct": np.floor(edges * rng.random(sentences)),
        "apart": apart,
        "apart_correct": np.floor(apart * rng.random(sentences)),
        "dspr": rng.random(sentences),
        "dspr_counts": length >= 5,
        "nspr": rng.random(sentences),
        "nspr_counts": (length >= 5) & (rng.random(sentences) < 0.9),
        "root": (rng.random(sentences) < 0.6).astype(float),
    }
    return TreeScores(**(fields | changes))  # type: ignore[arg-type]


def by_loops(scores: TreeScores, drawn: list[int]) -> dict[str, float]:
    """Each measure of sentences drawn with replacement."""
    found = {
        "uuas": sum(scores.correct[s] for s in drawn) / sum(scores.edges[s] for s in drawn),
        "uuas_apart": sum(scores.apart_correct[s] for s in drawn) / sum(scores.apart[s] for s in drawn),
        "root": float(np.mean([scores.root[s] for s in drawn])),
    }
    for name in ("dspr", "nspr"):
        by_length: dict[int, list[float]] = {}
        for s in drawn:
            if getattr(scores, f"{name}_counts")[s]:
                by_length.setdefault(int(scores.length[s]), []).append(getattr(scores, name)[s])
        found[name] = float(np.mean([np.mean(values) for values in by_length.values()]))
    return found


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_draws_are_those_of_loops(seed: int) -> None:
    scores = made(40, seed)
    rng = np.random.default_rng(seed)
    draws = rng.integers(40, size=(4, 40))
    weights = np.stack([np.bincount(drawn, minlength=40) for drawn in draws]).astype(float)
    of = statistics(scores)
    assert tuple(of) == MEASURES
    for row, drawn in enumerate(draws.tolist()):
        for name, value in by_loops(scores, drawn).items():
            assert of[name](weights)[row] == pytest.approx(value), name


def test_values_have_their_intervals_and_what_they_count() -> None:
    scores = made(80)
    found = metrics(scores)
    assert tuple(found) == MEASURES
    for name, expected in by_loops(scores, list(range(80))).items():
        value = found[name]
        assert isinstance(value, Value)
        assert value.value == pytest.approx(expected)
        assert value.low < value.value < value.high
    counts = {name: value.n for name, value in found.items() if isinstance(value, Value)}
    assert counts == {
        "uuas": scores.edges.sum(),
        "uuas_apart": scores.apart.sum(),
        "dspr": scores.dspr_counts.sum(),
        "nspr": scores.nspr_counts.sum(),
        "root": 80,
    }


def test_what_no_sentence_has_is_a_failure() -> None:
    found = metrics(made(20, apart=np.zeros(20), apart_correct=np.zeros(20), dspr_counts=np.zeros(20, bool)))
    for name in ("uuas_apart", "dspr"):
        failed = found[name]
        assert isinstance(failed, Failure)
        assert "no sentence" in failed.reason
    assert isinstance(found["uuas"], Value)


def test_a_lift_is_paired_and_tested() -> None:
    scores = made(60)
    worse = made(60, correct=np.maximum(scores.correct - 1, 0))
    lift = uuas_lift(scores, worse)
    assert isinstance(lift, Lift)
    assert lift.value == pytest.approx((scores.correct - worse.correct).sum() / scores.edges.sum())
    assert 0 < lift.low < lift.value < lift.high
    assert lift.p == pytest.approx(0.001)
    same, other_way = uuas_lift(scores, scores), uuas_lift(worse, scores)
    assert isinstance(same, Lift)
    assert isinstance(other_way, Lift)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert other_way.high < 0
    assert other_way.p > 0.9
    assert isinstance(uuas_lift(made(1), made(1)), Failure)
