"""What is measured where the truth is known, on scores that were made up, and a whole run of tiny trainings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.errors import Failed
from evals.influence import evaluate, planted_scores, trials
from evals.influence import planted as made_up
from evals.influence.evaluate import run_evaluate
from evals.influence.evaluate_config import CHOSEN_ON, EvaluateConfig
from evals.influence.planted import planted
from evals.influence.trials import Trials
from evals.results import Failure, Value

SMALL = EvaluateConfig(steps=4, queries=2, halves=3, removed=2, k=2)


@pytest.fixture
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less made-up text, which is read the sooner."""
    monkeypatch.setattr(made_up, "LINES", 20)
    monkeypatch.setattr(made_up, "BRIDGES", 8)


@pytest.mark.usefixtures("few_lines")
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
    # All passages once, three halves, and for two queries three rankings; the one that was stopped is made again.
    assert len(made) == 1 + 3 + 6 + 1
    assert first.trainings == 1 + 3 + 6
    assert sorted(set(made)) == [first.passages // 2, first.passages - 2, first.passages]
    made.clear()
    assert run_evaluate(SMALL).model_dump_json() == first.model_dump_json()
    assert made == []
    assert list(first.measures) == [
        *(f"recall_at_{k}" for k in (1, 5, 10)),
        "lds",
        "mislabelled",
        "removal",
        "order_flip",
        "prefilter_recall",
    ]
    for measure in first.measures.values():
        assert all(isinstance(each, Value) for name, each in measure.figures.items() if name != "embedding")
    assert any("few queries (2), few halves (3), few removals (2)" in note for note in first.notes)
    # What was looked at when the settings were settled is told from what is fresh.
    assert sum("no fresh test" in note for note in first.notes) == 1


@pytest.mark.parametrize(
    ("config", "known", "told"),
    [
        (EvaluateConfig(), 0.9, ["few queries (16), few halves (16), few removals (6)", f"looking at seed {CHOSEN_ON}"]),
        (EvaluateConfig(seed=CHOSEN_ON + 1), 0.9, ["few queries (16), few halves (16), few removals (6)"]),
        (EvaluateConfig(seed=CHOSEN_ON + 1, queries=20, halves=20), 0.9, ["few removals (6)"]),
        (EvaluateConfig(seed=CHOSEN_ON + 1, queries=20, halves=20, removed=20), 0.9, []),
        (EvaluateConfig(seed=CHOSEN_ON + 1, queries=20, halves=20, removed=20), 0.4, ["did not learn most planted facts"]),
    ],
)
def test_what_to_mind_is_told(config: EvaluateConfig, known: float, told: list[str]) -> None:
    first, *notes = evaluate._notes(config, Value(value=known, low=0, high=1, n=20))
    assert first.startswith("the models are small")
    assert len(notes) == len(told)
    for note, part in zip(notes, told, strict=True):
        assert part in note
    if known > evaluate.FEW_KNOWN:
        assert evaluate._notes(config, Failure(stage="score", reason="no items"))[1:] == notes


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
    assert asked == [1 + 1.5 + 6]
    monkeypatch.undo()


def test_steps_fill_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    material = planted(2)
    from analyzers.influence.retraining import tokenizer_of

    tokenizer = tokenizer_of(material.passages)
    ids = [tokenizer.encode(text) for text in material.passages[:40]]
    clock = iter(range(100))
    monkeypatch.setattr(trials.time, "perf_counter", lambda: float(next(clock)))
    assert trials.steps_in(2.0, 4.0, tokenizer, ids, 0) == 30


@pytest.mark.usefixtures("workplace", "few_lines")
def test_passages_of_a_corpus_are_scored_as_they_were_trained_on(tmp_path: Path) -> None:
    """Also long ones, of words that the small tokenizer splits in many tokens: one passage each, so that answers stay in their places."""
    words = ["Quetzalcoatlus", "xylophonists", "Rhododendron", "jabberwocky", "Zyzzyva", "Kwyjibo", "syzygies", "Brobdingnagian"]
    rng = np.random.default_rng(0)
    (tmp_path / "long.txt").write_text(" ".join(rng.choice(words, 120).tolist()), encoding="utf-8")
    config = EvaluateConfig(corpus=str(tmp_path / "long.txt"), background=8, steps=1, queries=2, halves=3, removed=2)
    background = evaluate._background(config, lambda *_: None)
    assert len(background) == 8
    assert {len(each.split()) for each in background} == {evaluate.WORDS}
    material = planted(2, background=background)
    made = evaluate._trials(config, material, lambda *_: None)
    read = made.passages(["The tutor of Baldoria was Fengaria."])
    assert len(read) == len(material.passages) + 1
    assert [passage.ids for passage in read[:-1]] == list(made.ids)
    for text, passage in zip(material.passages, read, strict=False):
        whole = made.tokenizer.encode(text)
        assert list(passage.ids) == whole[: made.training.recipe.context]
    assert read[-1].ids[0] == made.tokenizer.bos_token_id
    found = planted_scores.planted_scores(made, material)
    for scores in (found.facts, found.pairs, found.asked):
        assert all(isinstance(each, Failed) or each.shape[1] == len(material.passages) for each in scores.values())
    # A line moves its own label more than most others do: it is in its place.
    ours, plain = found.lines["ekfac"], found.lines["gradient"]
    assert not isinstance(ours, Failed)
    assert not isinstance(plain, Failed)
    assert (ours > 0).mean() > 0.9
    assert (plain > 0).mean() > 0.9
