"""What is measured where the truth is known, on scores that were made up, and a whole run of tiny trainings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzers.errors import Failed
from evals.influence import evaluate, planted_scores, trials
from evals.influence.evaluate import run_evaluate
from evals.influence.evaluate_config import EvaluateConfig
from evals.influence.planted import planted
from evals.influence.trials import Trials
from evals.results import Value

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
    assert any("few facts and pairs (2) and few removals (2)" in note for note in first.notes)
    # What was looked at when the settings were settled is told from what is fresh.
    assert sum("no fresh test" in note for note in first.notes) == 1


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


@pytest.mark.usefixtures("workplace")
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
