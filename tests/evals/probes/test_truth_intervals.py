"""Means over topics against scikit-learn, their intervals on noise, and lifts that are there or not."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from analyzers.errors import Failed
from evals.probes.results import Lift
from evals.probes.truth_intervals import Sample
from evals.probes.truth_words import bag_of_words, best_threshold
from evals.results import Value


def sample(sizes: tuple[int, ...], seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    topic = np.repeat(np.arange(len(sizes)), sizes)
    return Sample(topic, rng.random(len(topic)) < 0.5, seed)


def value(found: Value | Failed) -> Value:
    assert isinstance(found, Value), found
    return found


def test_figures_are_means_over_topics_and_topics_are_never_ranked_together() -> None:
    of = sample((40, 90, 60))
    rng = np.random.default_rng(1)
    scores = np.round(of.true + rng.normal(size=len(of)), 1) + 10.0 * of.topic
    expected = np.mean([roc_auc_score(of.true[of.topic == each], scores[of.topic == each]) for each in range(3)])
    found = value(of.auroc(scores))
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high
    assert found.n == 190
    expected = np.mean([accuracy_score(of.true[of.topic == each], scores[of.topic == each] > 10 * each + 0.5) for each in range(3)])
    assert value(of.accuracy(scores, np.asarray(10.0 * of.topic + 0.5, np.float64))).value == pytest.approx(expected)
    # A topic's own figure is that of its statements alone.
    assert value(of.of(of.topic == 1).auroc(scores[of.topic == 1])).value == pytest.approx(
        roc_auc_score(of.true[of.topic == 1], scores[of.topic == 1])
    )


def test_intervals_of_noise_hold_a_half_as_often_as_they_say() -> None:
    rng, inside = np.random.default_rng(2), 0
    for seed in range(60):
        of = sample((50, 70), seed)
        found = value(of.auroc(rng.normal(size=len(of))))
        inside += found.low <= 0.5 <= found.high
    assert 51 <= inside <= 60


def test_a_lift_is_paired_and_its_p_value_is_small_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    of = sample((100, 100))
    rng = np.random.default_rng(3)
    base = rng.normal(size=len(of))
    better = of.lift(base + 2 * of.true, base)
    assert isinstance(better, Lift)
    assert better.p == pytest.approx(0.001)
    assert better.low > 0.2
    assert better.value == pytest.approx(value(of.auroc(base + 2 * of.true)).value - value(of.auroc(base)).value)
    same = of.lift(base, base)
    assert isinstance(same, Lift)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    monkeypatch.setattr("evals.probes.truth_intervals.EXCHANGES", 99)
    ps = []
    for _ in range(40):
        other = of.lift(rng.normal(size=len(of)), rng.normal(size=len(of)))
        assert isinstance(other, Lift)
        ps.append(other.p)
    assert 0.3 < np.mean(ps) < 0.7


def test_what_cannot_be_told_has_a_reason() -> None:
    of = Sample(np.array([0, 0, 1, 1]), np.array([True, False, True, True]))
    assert isinstance(of.auroc(np.arange(4.0)), Failed)
    assert isinstance(of.rate(np.arange(4.0)), Value)
    assert of.rate(np.array([0, 1, np.nan, 1])) == Failed("score", "some scores are not finite")
    assert isinstance(Sample(np.array([0, 1]), np.array([True, False])).rate(np.ones(2)), Failed)
    assert Sample(np.empty(0, int), np.empty(0, bool)).rate(np.empty(0)) == Failed("score", "no statements")


def test_the_best_threshold_is_that_of_a_naive_search() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        scores, true = rng.integers(6, size=9).astype(float), rng.random(9) < 0.5
        best = max(np.mean((scores > cut) == true) for cut in (-1, *np.arange(0.5, 6), 7))
        assert np.mean((scores > best_threshold(scores, true)) == true) == best


def test_words_tell_what_they_tell_and_nothing_else() -> None:
    true = np.arange(80) % 2 == 0
    part = np.arange(80) // 20
    found = bag_of_words([f"thing{number} is {'good' if each else 'bad'}" for number, each in enumerate(true)], true, part)
    assert not isinstance(found, Failed)
    assert np.array_equal(found > 0, true)
    silent = bag_of_words([f"word{number}" for number in range(80)], true, part)
    assert not isinstance(silent, Failed)
    assert len(set(silent[part == 0].tolist())) == 1
    assert isinstance(bag_of_words(["?!"] * 80, true, part), Failed)
