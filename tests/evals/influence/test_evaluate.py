"""What is measured where the truth is known, on scores that were made up, and a whole run of tiny trainings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from evals.influence import evaluate, trials
from evals.influence.evaluate import datamodelling, mislabelled, order_flip, prefilter_recall, recall, run_evaluate
from evals.influence.evaluate_config import EvaluateConfig
from evals.influence.planted import planted
from evals.influence.trials import Trials
from evals.results import Failure, Value

RNG = np.random.default_rng(0)


def value(found: Value | Failure) -> float:
    assert isinstance(found, Value), found
    return found.value


def test_recall_counts_answers_among_the_first() -> None:
    answers = [0, 1, 2, 3]
    exact = np.eye(4, 20)
    third = np.zeros((4, 20))
    third[:, 10:12] = 2.0
    third += exact
    found = recall({"ekfac": exact, "bm25": third, "random": np.zeros((4, 20))}, answers)
    assert [value(found[f"recall_at_{k}"].figures["ekfac"]) for k in (1, 5, 10)] == [1, 1, 1]
    assert [value(found[f"recall_at_{k}"].figures["bm25"]) for k in (1, 5, 10)] == [0, 1, 1]
    # All equal: place 10.5 of 20.
    assert [value(found[f"recall_at_{k}"].figures["random"]) for k in (1, 5, 10)] == [0, 0, 0]
    assert value(found["recall_at_1"].lifts["bm25"]) == 1
    assert [found[f"recall_at_{k}"].chance for k in (1, 5, 10)] == [0.05, 0.25, 0.5]


def test_datamodelling_is_spearman_s_over_trainings() -> None:
    halves = RNG.random((12, 30)) < 0.5
    truth = RNG.normal(size=(5, 30))
    said = halves @ truth.T
    noisy = truth + RNG.normal(size=truth.shape)
    found = datamodelling({"ekfac": truth, "bm25": noisy, "random": -truth}, halves, np.exp(said))
    assert value(found.figures["ekfac"]) == pytest.approx(1)
    assert value(found.figures["random"]) == pytest.approx(-1)
    naive = [spearmanr([noisy[at][half].sum() for half in halves], said[:, at]).statistic for at in range(5)]
    assert value(found.figures["bm25"]) == pytest.approx(float(np.mean(naive)))


def test_exchanged_labels_are_told_by_self_influence() -> None:
    material = planted(2)
    wrong = np.array([float(each) for *_, each in material.lines])
    found = mislabelled({"self": {"ekfac": wrong, "random": np.zeros(len(wrong)), "surprisal": -wrong}}, material)
    assert [value(found.figures[name]) for name in ("ekfac", "random", "surprisal")] == [1, 0.5, 0]
    assert value(found.lifts["random"]) == 0.5


def test_order_flip_is_paired_and_in_units_of_the_text() -> None:
    inside = np.full((3, 10), 2.0)
    same, flipped = np.diag([8.0, 6.0, 4.0]), np.diag([2.0, 0.0, 0.0])
    found = order_flip({"ekfac": np.concatenate([same, flipped], axis=1)}, {"ekfac": inside})
    assert value(found.figures["ekfac_same"]) == pytest.approx(3)
    assert value(found.figures["ekfac_flipped"]) == pytest.approx(1 / 3)
    assert value(found.figures["ekfac"]) == pytest.approx(8 / 3)


def test_a_prefilter_keeps_what_is_near_in_words() -> None:
    ours = np.tile(np.arange(100.0), (4, 1))
    found = prefilter_recall({"ekfac": ours, "tf_idf": ours})
    assert [value(found.figures[name]) for name in ("0.05", "0.1", "0.5")] == [0.5, 1, 1]
    other = prefilter_recall({"ekfac": ours, "tf_idf": -ours})
    assert [value(other.figures[name]) for name in ("0.05", "0.5")] == [0, 0]


SMALL = EvaluateConfig(steps=4, queries=2, halves=3, removed=2, k=2)


def test_a_run_that_was_killed_trains_nothing_twice(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    trained = Trials._train
    made: list[int] = []

    def counted(self: Trials, places: Any, *rest: Any) -> Any:
        made.append(len(places))
        if len(made) == 5:
            raise Stopped
        return trained(self, places, *rest)

    monkeypatch.setattr(Trials, "_train", counted)
    with pytest.raises(Stopped):
        run_evaluate(SMALL)
    first = run_evaluate(SMALL)
    # All passages twice, three halves, and for two queries three rankings; the one that was stopped is made again.
    assert len(made) == 2 + 3 + 6 + 1
    assert first.trainings == 1 + 3 + 6
    assert sorted(set(made)) == [first.passages // 2, first.passages - 2, first.passages]
    made.clear()
    assert run_evaluate(SMALL) == first
    assert made == []
    assert list(first.measures) == [
        *(f"recall_at_{k}" for k in evaluate.RECALL),
        "lds",
        "mislabelled",
        "removal",
        "order_flip",
        "prefilter_recall",
    ]
    for measure in first.measures.values():
        assert all(isinstance(each, Value) for each in measure.figures.values())
    assert any("few queries (2)" in note for note in first.notes)


def test_minutes_say_how_many_steps_once(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = EvaluateConfig(minutes=0.5, queries=2, halves=3, removed=2)
    asked: list[float] = []

    def steps_in(minutes: float, trainings: float, *_rest: Any) -> int:
        asked.append(trainings)
        return 17

    monkeypatch.setattr(evaluate, "steps_in", steps_in)
    material = planted(2)
    for _ in range(2):
        assert evaluate._trials(config, material, lambda *_: None).training.steps == 17
    assert asked == [2 + 1.5 + 6]
    monkeypatch.undo()


def test_steps_fill_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    material = planted(2)
    from analyzers.influence.retraining import tokenizer_of

    tokenizer = tokenizer_of(material.passages)
    ids = [tokenizer.encode(text) for text in material.passages[:40]]
    clock = iter(range(100))
    monkeypatch.setattr(trials.time, "perf_counter", lambda: float(next(clock)))
    assert trials.steps_in(2.0, 4.0, tokenizer, ids, 0) == 30
