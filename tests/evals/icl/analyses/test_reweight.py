"""Figures of learned weights, beside the answers that they must equal where nothing or everything is learned."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.icl.prompts import IclPrompt
from analyzers.icl.reweighting import Reweighting
from evals.icl.analyses.reweight import reweight
from evals.icl.setting import Setting
from evals.results import Failure, Value


def value(figure: Value | Failure) -> float:
    assert isinstance(figure, Value)
    return figure.value


def test_weights_of_nothing_change_no_answer(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[tuple[list[IclPrompt], list[int]]] = []

    def none(model: Any, prompts: list[IclPrompt], gold: list[int], **_: Any) -> Reweighting:
        learned.append((prompts, gold))
        return Reweighting(torch.zeros(3, model.layers, model.heads), (1.0, 0.5))

    monkeypatch.setattr("analyzers.icl.reweighting.learn_weights", none)
    setting = setting_of()
    found = reweight(setting)
    assert value(found.figures["accuracy/reweighted_minus_vanilla"]) == 0
    right = [float(chosen == case.item.label) for chosen, case in zip(setting.answers.chosen, setting.cases, strict=True)]
    assert value(found.figures["accuracy/vanilla"]) == value(found.figures["accuracy/reweighted"]) == pytest.approx(np.mean(right))
    curve = found.curves["loss"]
    assert [value(one) for one in curve.values] == [1.0, 0.5]
    assert {one.n for one in curve.values if isinstance(one, Value)} == {2}
    assert any("over 2 draws of demonstrations, not over items" in note for note in found.notes)
    # Neither what is asked nor what is shown is learned from.
    assert len(learned) == 2
    for number, (prompts, gold) in enumerate(learned):
        assert len(prompts) == len(gold) == 12
        assert np.bincount(gold).tolist() == [4, 4, 4]
        texts = {setting.model.tokens.decode(prompt.ids[prompt.query.start :]) for prompt in prompts}
        shut = [*setting.drawn.asked, *setting.drawn.shown[number]]
        assert not texts & {setting.template.query(item.text) for item in shut}


def test_examples_are_shown_or_learned_from(setting_of: Callable[..., Setting]) -> None:
    setting = setting_of(n=6)
    found = reweight(setting)
    assert all(isinstance(figure, Value) for figure in found.figures.values())
    losses = [value(one) for one in found.curves["loss"].values]
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    more = value(found.figures["accuracy/more_shots"])
    difference = value(found.figures["accuracy/reweighted"]) - more
    assert value(found.figures["accuracy/reweighted_minus_more_shots"]) == pytest.approx(difference)


def test_examples_that_cannot_be_shown_fail_alone(setting_of: Callable[..., Setting]) -> None:
    limit = max(len(prompt) for prompt in setting_of(n=6).prompts) + 20
    found = reweight(setting_of(n=6, max_position_embeddings=limit)).figures
    failed: Sequence[str] = [name for name, figure in found.items() if isinstance(figure, Failure)]
    assert sorted(failed) == ["accuracy/more_shots", "accuracy/reweighted_minus_more_shots"]


def test_without_examples_there_is_nothing_to_learn_from(setting_of: Callable[..., Setting]) -> None:
    setting = setting_of(n=6)
    object.__setattr__(setting.drawn, "further", ((), ()))
    found = reweight(setting).figures
    assert isinstance(found["accuracy/vanilla"], Value)
    assert all(isinstance(figure, Failure) for name, figure in found.items() if name != "accuracy/vanilla")
