"""Curves over the share that is kept, with importance planted, against single passes with gates."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analyzers.attention.door import attending, blocked
from analyzers.icl.pruning import Importance
from evals.icl.analyses.prune import RANDOM, prune
from evals.icl.setting import Case, Setting
from evals.results import Failure, Value
from evals.scores import Floats

KEPT_HEADS = ((0, 1), (0, 2), (1, 0), (1, 3), (2, 2), (2, 3))


def value(figure: Value | Failure) -> float:
    assert isinstance(figure, Value)
    return figure.value


def chosen(setting: Setting, case: Case, **door: Any) -> int:
    with torch.no_grad(), attending(setting.model.model, **door):
        logits = setting.model.forward(torch.tensor([case.prompt.ids])).logits[0, -1]
    return int(logits[list(case.prompt.class_tokens)].argmax())


def test_half_is_kept_and_all_is_kept(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    setting = setting_of()
    heads = np.zeros((3, 4))
    for layer, head in KEPT_HEADS:
        heads[layer, head] = 1

    def planted(_model: Any, prompts: Any, _gold: Any, **_: Any) -> Importance:
        length = prompts[0].query.start
        return Importance(heads, np.arange(length, 0, -1, dtype=np.float64))  # the first ones matter most

    monkeypatch.setattr("analyzers.icl.pruning.importance", planted)
    monkeypatch.setattr("evals.icl.analyses.prune.SHARES", (1.0, 0.5))
    found = prune(setting)
    gate = torch.from_numpy(heads).float()
    by_heads, by_tokens = [], []
    for case, before in zip(setting.cases, setting.answers.chosen, strict=True):

        def pruned(layer: int, probabilities: Tensor) -> Tensor:
            return probabilities * gate[layer, :, None, None]

        length = case.prompt.query.start
        at = torch.zeros(len(case.prompt), len(case.prompt), dtype=torch.bool)
        at[length:, round(length / 2) : length] = True
        mask = blocked(at, torch.float32)

        def dropped(_layer: int, mask: Tensor = mask) -> Tensor:
            return mask

        by_heads.append((chosen(setting, case, changed=pruned) == before, chosen(setting, case, changed=pruned) == case.item.label))
        by_tokens.append((chosen(setting, case, masked=dropped) == before, chosen(setting, case, masked=dropped) == case.item.label))
    full = value(found.figures["accuracy/full"])
    for what, own in (("heads", by_heads), ("tokens", by_tokens)):
        for at_measure, measure in enumerate(("label_loyalty", "accuracy")):
            important, random = found.curves[f"{measure}/{what}/important"], found.curves[f"{measure}/{what}/random"]
            assert important.at == [1.0, 0.5]
            assert value(important.values[0]) == value(random.values[0]) == (1 if measure == "label_loyalty" else pytest.approx(full))
            assert value(important.values[1]) == pytest.approx(np.mean([one[at_measure] for one in own]))
            difference = (value(important.values[1]) - value(random.values[1])) / 2
            assert value(found.figures[f"{measure}/{what}/important_minus_random"]) == pytest.approx(difference)


def test_importance_is_measured_on_further_items(setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.icl.analyses.prune.SHARES", (0.5,))
    setting = setting_of(n=6)
    found = prune(setting)
    assert all(isinstance(figure, Value) for figure in found.figures.values())
    assert "further examples a draw that importance was measured on: 12" in found.notes
    assert "further examples a draw, by label: Negative 4, Positive 4, Mixed 4" in found.notes
    fewer = tuple(tuple(item for item in own if item.label != 1 or draw == 0) for draw, own in enumerate(setting.drawn.further))
    object.__setattr__(setting.drawn, "further", fewer)
    notes = prune(setting).notes
    assert "further examples a draw, by label: Negative 4, Positive 0 to 4, Mixed 4" in notes
    assert [note for note in notes if note.startswith("of Positive no example was left in 1 of 2 draws")]
    object.__setattr__(setting.drawn, "further", ((), ()))
    none = prune(setting)
    assert [name for name, figure in none.figures.items() if isinstance(figure, Value)] == ["accuracy/full"]


def test_items_are_chosen_by_the_seed_and_all_figures_are_of_them(
    setting_of: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.icl.analyses.prune.SHARES", (0.5,))
    monkeypatch.setattr("evals.icl.analyses.prune.ITEMS", 4)
    asked: dict[str, list[list[int]]] = {"heads": [], "tokens": []}

    def by_heads(_setting: Any, cases: list[int], heads: Floats) -> Floats:
        asked["heads"].append(cases)
        return np.full((1, 2, len(cases)), float(heads.ravel()[0] == 11))

    def by_tokens(_setting: Any, cases: list[int], _context: Any, _tokens: Floats) -> Floats:
        asked["tokens"].append(cases)
        return np.ones((1, 2, len(cases)))

    def planted(_model: Any, prompts: Any, _gold: Any, **_: Any) -> Importance:
        return Importance(np.arange(12.0)[::-1].reshape(3, 4), np.zeros(prompts[0].query.start))

    monkeypatch.setattr("analyzers.icl.pruning.importance", planted)
    monkeypatch.setattr("evals.icl.analyses.prune._by_heads", by_heads)
    monkeypatch.setattr("evals.icl.analyses.prune._by_tokens", by_tokens)
    setting = setting_of(n=16)
    chosen: set[tuple[int, ...]] = set()
    for seed in range(4):
        object.__setattr__(setting, "seed", seed)
        for own in asked.values():
            own.clear()
        found = prune(setting)
        # The real order and RANDOM others, of each of two draws, all of the same items.
        assert len(asked["heads"]) == len(asked["tokens"]) == 2 * (1 + RANDOM) >= 12
        first, second = asked["heads"][0], asked["heads"][-1]
        assert asked["heads"] == asked["tokens"] == [first] * (1 + RANDOM) + [second] * (1 + RANDOM)
        assert [setting.cases[number].draw for number in first + second] == [0] * 4 + [1] * 4
        right = [setting.answers.chosen[number] == setting.cases[number].item.label for number in first + second]
        assert value(found.figures["accuracy/full"]) == pytest.approx(np.mean(right))
        assert {figure.n for figure in found.figures.values() if isinstance(figure, Value)} == {8}
        # A control is the mean of several orders, so that it can be a fraction of what one gives.
        assert value(found.curves["accuracy/heads/important"].values[0]) == 1
        assert value(found.curves["accuracy/heads/random"].values[0]) < 1
        chosen.add(tuple(first))
    assert len(chosen) > 1
    assert any("4 items a draw" in note and "8 answers" in note for note in found.notes)
