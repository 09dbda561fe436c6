"""Planted directions are found on topics that were left out, at the planted layer, by a choice that never sees them; noise is not."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from analyzers.errors import ExplicateError, Failed
from analyzers.probes.truth import Detector
from evals.probes.results import Lift
from evals.probes.truth_beside import SHUFFLES, shuffled
from evals.probes.truth_causal import DIRECTIONS, measured, step
from evals.probes.truth_folds import Parts, check_enough, frames, parts_of
from evals.probes.truth_held_out import FEW_LAYERS, HeldOut, held_out, outer, outer_of_orders, spread
from evals.probes.truth_intervals import Sample
from evals.results import Failure, Value
from evals.scores import Floats, Indices

WIDTH = 16
EVERY = np.arange(240)


@dataclass(eq=False)
class Planted:
    """States with the truth along a direction at some layers."""

    layers: tuple[int, ...]
    states: dict[int, npt.NDArray[np.float32]]
    denied: dict[int, npt.NDArray[np.float32]]
    paired: Indices

    def at(self, layer: int) -> npt.NDArray[np.float32]:
        return self.states[layer]

    def negations(self, layer: int) -> npt.NDArray[np.float32]:
        return self.denied[layer]


def planted(strengths: tuple[float, ...], topics: int = 4, size: int = 40, seed: int = 0) -> Parts:
    """Each topic lies somewhere of its own; strengths: by layer."""
    rng = np.random.default_rng(seed)
    topic = np.repeat(np.arange(topics), size)
    true = rng.permuted(np.tile(np.arange(size) % 2 == 0, (topics, 1)), axis=1).ravel()
    theta, places = rng.normal(size=WIDTH), rng.normal(size=(topics, WIDTH))
    sign = np.where(true, 1.0, -1.0)[:, None]
    states: dict[int, npt.NDArray[np.float32]] = {}
    denied: dict[int, npt.NDArray[np.float32]] = {}
    for layer, strength in enumerate(strengths):
        for found, turned in ((states, 1), (denied, -1)):
            noise = 0.5 * rng.normal(size=(len(true), WIDTH))
            found[layer] = (places[topic] + noise + turned * strength * sign * theta).astype(np.float32)
    bank = Planted(tuple(range(len(strengths))), states, denied, np.arange(len(true)))
    return Parts(bank, true, topic, topic, np.arange(len(true)), "logistic", seed)


def found_of(parts: Parts) -> HeldOut:
    found = held_out(parts, parts.bank.layers)
    assert isinstance(found, HeldOut), found
    return found


@pytest.mark.parametrize("kind", ["logistic", "mass-mean", "mass-mean-iid"])
def test_a_planted_direction_is_found_at_its_layer_on_topics_left_out(kind: str) -> None:
    parts = replace(planted((0.0, 0.03, 1.5, 0.03)), kind=kind)  # type: ignore[arg-type]
    found = found_of(parts)
    assert set(found.chosen.values()) == {2}
    assert found.best == 2
    sample = Sample(parts.topic, parts.true)
    assert sample.auroc(found.nested) == Value(value=1, low=1, high=1, n=160)
    assert np.array_equal(found.nested > 0, parts.true)


@pytest.mark.parametrize("kind", ["saplma", "ccs"])
def test_other_detectors_find_it_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.probes.truth.RATE", 0.02)
    monkeypatch.setattr("analyzers.probes.truth.STEPS", 100)
    parts = replace(planted((1.5,), topics=3, size=160), kind=kind)  # type: ignore[arg-type]
    scores = outer(parts, 0, dict.fromkeys(parts.numbers, 1.0))
    assert not isinstance(scores, Failed)
    assert Sample(parts.topic, parts.true).auroc(scores) == Value(value=1, low=1, high=1, n=480)


def test_layers_of_slow_detectors_are_chosen_by_logistic_regression_and_few_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.probes.truth.EPOCHS", 20)
    strengths = tuple(1.5 if layer == 4 else 0.0 for layer in range(9))
    parts = planted(strengths, topics=3, size=60)
    quick, slow = found_of(parts), found_of(replace(parts, kind="saplma"))
    assert slow.chosen == quick.chosen == {0: 4, 1: 4, 2: 4}
    assert slow.best == 4
    assert list(slow.scores) == sorted({*spread(range(9)), 4})
    assert len(slow.scores) == FEW_LAYERS + 1
    assert list(slow.choosing) == list(range(9))
    assert np.array_equal(slow.choosing[4], quick.scores[4])
    assert np.array_equal(slow.nested, outer(replace(parts, kind="saplma"), 4, slow.penalty))
    assert Sample(parts.topic, parts.true).plain_auroc(slow.nested) > 0.99
    assert spread([0, 1, 3]) == [0, 1, 3]


@pytest.mark.parametrize("kind", ["logistic", "mass-mean"])
def test_what_is_trained_together_is_what_is_trained_one_by_one(kind: str) -> None:
    """The layer and penalty of every part by loops over what the choice is said to be."""
    parts = replace(planted((0.3, 0.5, 0.4), seed=5), kind=kind)  # type: ignore[arg-type]
    found = found_of(parts)
    penalties = (1e-4, 1e-3, 1e-2, 1e-1) if kind == "logistic" else (0.01,)

    def second(part: int, layer: int, c: float) -> float:
        told = []
        for other in parts.numbers:
            if other != part:
                detector = parts.train(layer, (parts.part != part) & (parts.part != other), c=c)
                assert isinstance(detector, Detector)
                own = parts.part == other
                told.append(roc_auc_score(parts.true[own], detector.score(parts.bank.at(layer)[own])))
        return float(np.mean(told))

    for part in parts.numbers:
        by_penalty = {c: second(part, 1, c) for c in penalties}
        assert by_penalty[found.penalty[part]] == pytest.approx(max(by_penalty.values()), abs=1e-9)
        by_layer = {layer: second(part, layer, found.penalty[part]) for layer in range(3)}
        assert by_layer[found.chosen[part]] == pytest.approx(max(by_layer.values()), abs=1e-9)
        assert found.inner[1][part] == pytest.approx(by_layer[1], abs=1e-9)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(parts.true) for _ in range(3)]
    layers = {0: 1, 1: 2, 2: 1, 3: 0}
    told = outer_of_orders(parts, layers, found.penalty, orders, what="orders")
    assert not isinstance(told, Failed)
    for order, scores in zip(orders, told, strict=True):
        alone = outer(replace(parts, true=order), layers, found.penalty)
        assert not isinstance(alone, Failed)
        assert scores == pytest.approx(alone, abs=1e-6)


def test_noise_is_at_chance_within_its_interval_and_no_better_than_shuffled_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals take detectors as they are, and those of several topics share what they are trained on: of noise they hold a half in
    some 83 of 100 samples, for what four topics have in common counts twice. Detectors of shuffled labels share it, too."""
    monkeypatch.setattr("evals.probes.truth_beside.SHUFFLES", 19)
    values, outside, p_values = [], 0, []
    for seed in range(12):
        parts = replace(planted((0.0, 0.0), seed=seed), kind="mass-mean")
        found, sample = found_of(parts), Sample(parts.topic, parts.true)
        value = sample.auroc(found.nested)
        assert isinstance(value, Value)
        values.append(value.value)
        outside += not value.low <= 0.5 <= value.high
        told = shuffled(parts, found, sample)
        assert not isinstance(told, Failed)
        lift = told.lift(value)
        assert isinstance(lift, Lift)
        p_values.append(lift.p)
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)
    assert outside <= 6
    assert sum(p <= 0.1 for p in p_values) <= 4
    assert 0.25 < np.mean(p_values) < 0.75


def test_what_is_there_is_better_than_shuffled_labels() -> None:
    parts = replace(planted((0.0, 1.5)), kind="mass-mean")
    sample = Sample(parts.topic, parts.true)
    told = shuffled(parts, found_of(parts), sample)
    assert not isinstance(told, Failed)
    lift = told.lift(sample.auroc(found_of(parts).nested))
    assert isinstance(lift, Lift)
    assert lift.p == 1 / (1 + SHUFFLES)
    assert lift.value == pytest.approx(0.5, abs=0.06)
    value = told.metrics["auroc"]
    assert isinstance(value, Value)
    assert value.low < 0.5 < value.high
    assert value.n == SHUFFLES


def test_the_labels_of_a_topic_have_no_part_in_its_scores_or_its_layer() -> None:
    parts = planted((0.3, 0.5, 0.4, 0.2), seed=5)
    found = found_of(parts)
    for topic in range(4):
        own = parts.topic == topic
        true = parts.true.copy()
        true[own] = np.random.default_rng(1).permutation(true[own])
        other = found_of(replace(parts, true=true))
        assert (other.chosen[topic], other.penalty[topic]) == (found.chosen[topic], found.penalty[topic])
        assert np.array_equal(other.nested[own], found.nested[own])


def test_what_has_nothing_to_choose_by_has_a_reason_and_no_score() -> None:
    parts = planted((1.0,), topics=6)
    # Topics of one label each: there is enough to train on, and no other topic can tell whether that was any good.
    found = held_out(replace(parts, true=parts.topic < 3), (0,))
    assert isinstance(found, Failed)
    assert "true and false statements" in found.reason


def test_two_topics_choose_by_halves_and_one_cannot_be_left_out() -> None:
    parts = planted((0.0, 1.5), topics=2)
    assert set(found_of(parts).chosen.values()) == {1}
    with pytest.raises(ExplicateError, match="trains on other topics, and there is one"):
        parts_of(np.zeros(9, int), np.arange(9), leave_topic_out=True, seed=0)


def test_ccs_without_pairs_in_any_training_part_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.probes.truth.STEPS", 3)
    parts = replace(planted((1.5,)), kind="ccs")
    bank = parts.bank
    assert isinstance(bank, Planted)
    # Only one topic has pairs: the detector that leaves it out has none.
    few = replace(bank, denied={0: bank.denied[0][:40]}, paired=np.arange(40))
    found = held_out(replace(parts, bank=few), (0,))
    assert isinstance(found, Failed)
    assert "pairs" in found.reason


def test_statements_that_differ_in_their_last_word_are_in_one_part() -> None:
    texts = [f"Town {number} is in {where}." for number in range(60) for where in ("Peru", "Chad")]
    group = frames(texts)
    assert group.tolist() == np.repeat(np.arange(60), 2).tolist()
    part = parts_of(np.zeros(120, int), group, leave_topic_out=False, seed=0)
    assert np.array_equal(part[::2], part[1::2])
    assert np.bincount(part).tolist() == [24] * 5
    alike = parts_of(np.zeros(20, int), np.zeros(20, int), leave_topic_out=False, seed=0)
    assert np.bincount(alike).tolist() == [4] * 5


def test_few_statements_are_told() -> None:
    parts = planted((1.0,), topics=2, size=8)
    with pytest.raises(ExplicateError, match=r"the topic 'a' has 4 true statements that can be read, of 5 needed; .*--limit"):
        check_enough(parts, ["a", "b"])
    check_enough(planted((1.0,), topics=2, size=10), ["a", "b"])


def test_the_causal_effect_is_that_of_a_planted_reader() -> None:
    """A reader whose log-odds are the projection on the planted direction, and one that reads another, orthogonal one."""
    parts = planted((1.5,), size=60)
    x, true = parts.bank.at(0).astype(np.float64), parts.true
    theta = x[true].mean(0) - x[~true].mean(0)
    theta /= np.linalg.norm(theta)
    drawn = np.arange(0, 240, 6)
    penalty = dict.fromkeys(parts.numbers, 0.01)

    def reader(direction: Floats) -> object:
        def after(numbers: list[int], added: Floats) -> Floats:
            states = x[numbers] + added
            odds = states @ direction
            return np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], 1)

        return after

    found = measured(reader(theta), replace(parts, kind="mass-mean"), penalty, 0, drawn, EVERY)  # type: ignore[arg-type]
    assert not isinstance(found, Failed)
    assert (found.statements, found.directions, found.direction) == (40, DIRECTIONS, "mass-mean")
    assert isinstance(found.asked, Value)
    assert found.asked.value == 1
    # Answers of their own are asked for of more statements than are changed.
    assert found.asked.n == 240
    for each in found.strengths:
        detector = parts.train(0, parts.part != 0, kind="mass-mean")
        assert isinstance(detector, Detector)
        own = step(detector, x[parts.part != 0], true[parts.part != 0])
        assert isinstance(each.effect, Value)
        assert each.effect.value == pytest.approx(each.k * float(own @ theta), rel=0.1)
        # Random directions of the states' own spread lie along the truth, too, but less.
        assert abs(each.random.value) < each.effect.value  # type: ignore[union-attr]
        assert isinstance(each.nie_false, Value)
        assert isinstance(each.nie_true, Value)
    first = found.strengths[0]
    # One step leads from the mean of the false statements to that of the true ones.
    assert first.nie_false.value == pytest.approx(1, abs=0.2)  # type: ignore[union-attr]
    across = np.random.default_rng(9).normal(size=WIDTH)
    across -= (across @ theta) * theta
    blind = measured(reader(across / np.linalg.norm(across)), replace(parts, kind="mass-mean"), penalty, 0, drawn, EVERY)  # type: ignore[arg-type]
    assert not isinstance(blind, Failed)
    for each in blind.strengths:
        assert isinstance(each.effect, Value)
        assert abs(each.effect.value) < 0.3 * each.k
        assert each.p > 0.05


def test_a_reader_that_says_false_of_true_statements_has_no_normalised_effect() -> None:
    parts = planted((1.5,), size=40)
    x = parts.bank.at(0).astype(np.float64)
    theta = x[parts.true].mean(0) - x[~parts.true].mean(0)

    def after(numbers: list[int], added: Floats) -> Floats:
        odds = -(x[numbers] + added) @ theta / 10
        return np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], 1)

    found = measured(after, parts, dict.fromkeys(parts.numbers, 0.01), 0, np.arange(0, 160, 4), np.arange(160))  # type: ignore[arg-type]
    assert not isinstance(found, Failed)
    for each in found.strengths:
        assert isinstance(each.nie_false, Failure)
        assert "says true no more" in each.nie_false.reason


def test_effects_and_those_of_random_directions_are_means_over_topics_alike() -> None:
    """A reader that is moved in the small topics alone: over statements it would be moved little."""
    parts = planted((1.5,), size=60)
    topic = np.repeat(np.arange(4), [210, 10, 10, 10])
    parts = replace(parts, kind="mass-mean", topic=topic, part=topic)
    seen: list[Floats] = []

    def after(numbers: list[int], added: Floats) -> Floats:
        odds = (topic[numbers] > 0) * added[:, 0]
        seen.append(odds)
        return np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], 1)

    found = measured(after, parts, dict.fromkeys(parts.numbers, 0.01), 0, EVERY, EVERY)  # type: ignore[arg-type]
    assert not isinstance(found, Failed)
    changes = seen[0].reshape(-1, 240)[1:]
    moved = (changes[::2] - changes[1::2]) / 2
    by_topic = np.array([[row[topic == number].mean() for number in range(4)] for row in moved]).mean(1)
    first = found.strengths[0]
    assert isinstance(first.effect, Value)
    assert first.effect.value == pytest.approx(by_topic[0])
    random = by_topic[1 : 1 + DIRECTIONS]
    assert first.random.value == pytest.approx(random.mean())  # type: ignore[union-attr]
    assert first.p == (1 + np.sum(np.abs(random) >= by_topic[0])) / (1 + DIRECTIONS)
