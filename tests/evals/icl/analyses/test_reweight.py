"""Figures of learned weights, beside the answers that they must equal where nothing or everything is learned."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analyzers.icl.answers import Answers, answers
from analyzers.icl.prompts import IclPrompt
from analyzers.icl.reweighting import Reweighting
from evals.icl.analyses.reweight import OTHERS, class_bias, reweight
from evals.icl.setting import Setting
from evals.results import Failure, Value
from evals.scores import Floats


@given(
    classes=st.integers(2, 6),
    examples=st.integers(1, 30),
    spread=st.floats(0.1, 6),
    bias=st.floats(0, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_bias_makes_mean_probabilities_the_shares_of_labels(classes: int, examples: int, spread: float, bias: float, seed: int) -> None:
    """Where the gradient of a convex loss is 0: each class once more than it is counted."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(scale=spread, size=(examples, classes)) + bias * np.arange(classes)
    gold = rng.integers(0, classes, examples)
    log_probabilities = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
    found = class_bias(log_probabilities, gold.tolist())
    assert found.sum() == pytest.approx(0, abs=1e-9)
    weighed = np.exp(log_probabilities + found)
    shares = [(np.sum(gold == number) + 1) / (examples + classes) for number in range(classes)]
    assert (weighed / weighed.sum(axis=1, keepdims=True)).mean(axis=0) == pytest.approx(np.array(shares), abs=1e-5)


def test_a_bias_undoes_one_that_was_planted() -> None:
    gold = [0, 1, 2] * 4
    fair = np.log(np.full((12, 3), 0.2) + 0.4 * np.eye(3)[gold])
    planted = np.array([2.0, -3.0, 1.0])
    assert class_bias(fair + planted, gold) == pytest.approx(-planted, abs=1e-5)


def test_the_controls_are_a_bias_and_other_tokens(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that would be right but for a bias gains as much by a bias alone; weights are learned of other tokens in the same way."""
    setting = setting_of()
    labels = len(setting.template.labels)

    def biased(gold: Sequence[int]) -> Floats:
        raw = (0.2 + 0.4 * np.eye(labels)[list(gold)]) * np.exp([3.0, 0.0, 0.0])
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    object.__setattr__(setting.answers, "probabilities", biased(setting.gold.tolist()))
    learned: list[tuple[list[IclPrompt], list[int], int]] = []
    weighed: list[list[IclPrompt]] = []

    def learn(model: Any, prompts: list[IclPrompt], gold: list[int], *, seed: int, **_: Any) -> Reweighting:
        learned.append((prompts, gold, seed))
        return Reweighting(torch.zeros(3, model.layers, model.heads), (1.0, 0.5))

    def told(model: Any, prompts: list[IclPrompt], **_: Any) -> Answers:
        if len(prompts) == 12 and any(prompts[0].ids == own[0].ids for own, _, _ in learned):
            gold = next(gold for own, gold, _ in learned if own[0].ids == prompts[0].ids)
            return Answers(biased(gold), np.ones(12), np.zeros((12, 5), np.int64))
        return answers(model, prompts)

    def with_weights(model: Any, prompts: list[IclPrompt], _beta: Any, **_: Any) -> Answers:
        weighed.append(prompts)
        return answers(model, prompts)

    monkeypatch.setattr("analyzers.icl.reweighting.learn_weights", learn)
    monkeypatch.setattr("analyzers.icl.reweighting.reweighted", with_weights)
    monkeypatch.setattr("analyzers.icl.answers.answers", told)
    found = reweight(setting).figures
    assert value(found["accuracy/vanilla"]) == pytest.approx(np.mean(setting.gold == 0))
    assert value(found["accuracy/bias_only"]) == 1
    for other in OTHERS:
        difference = value(found["accuracy/reweighted"]) - value(found[f"accuracy/{other}"])
        assert value(found[f"accuracy/reweighted_minus_{other}"]) == pytest.approx(difference)
    # Of each of two draws the labels, then other tokens: the same prompts, gold labels and seed.
    assert (len(learned), len(weighed)) == (4, 4)
    for (of_labels, gold, seed), (at_random, same, again) in zip(learned[::2], learned[1::2], strict=True):
        assert (gold, seed, [prompt.ids for prompt in of_labels]) == (same, again, [prompt.ids for prompt in at_random])
    read = [*weighed, *(prompts for prompts, _, _ in learned)]
    for of_labels, at_random in zip(read[::2], read[1::2], strict=True):
        for one, other in zip(of_labels, at_random, strict=True):
            assert one.ids == other.ids
            assert other.labels == at_random[0].labels
            assert not set(other.labels) & {at for own in one.label_tokens for at in own}
            assert all(at in own and at > 0 for at, own in zip(other.labels, one.demonstrations, strict=True))


def test_a_class_without_examples_is_named(setting_of: Callable[..., Setting]) -> None:
    setting = setting_of(n=6)
    fewer = tuple(tuple(item for item in own if item.label != 1) for own in setting.drawn.further)
    object.__setattr__(setting.drawn, "further", fewer)
    found = reweight(setting)
    assert all(isinstance(figure, Value) for figure in found.figures.values())
    assert "further examples a draw, by label: Negative 4, Positive 0, Mixed 4" in found.notes
    assert [note for note in found.notes if note.startswith("of Positive no example was left in 2 of 2 draws")]


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
    assert len(learned) == 4
    for number, (prompts, gold) in enumerate(learned[::2]):
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
