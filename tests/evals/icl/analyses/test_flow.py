"""What flows into and from labels beside random tokens, with planted saliency."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from analyzers.icl.prompts import IclPrompt
from evals.icl.analyses.flow import flow
from evals.icl.setting import Setting
from evals.results import Failure, Value

Plant = Callable[[int, IclPrompt, Tensor], None]


def value(figure: Value | Failure) -> float:
    assert isinstance(figure, Value)
    return figure.value


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plant], None]:
    """plant(change) gives all edges of all layers a saliency of 1, then changes each layer's [query, key]."""

    def planting(change: Plant) -> None:
        def saliency(model: Any, prompt: IclPrompt, _gold: int) -> list[Tensor]:
            layers = [torch.ones(len(prompt), len(prompt)).tril() for _ in range(model.layers)]
            for number, layer in enumerate(layers):
                change(number, prompt, layer)
            return [layer[None] for layer in layers]

        monkeypatch.setattr("analyzers.icl.saliency_flow.attention_saliency", saliency)

    return planting


def test_anchors_are_more_than_random_tokens(setting_of: Callable[..., Setting], plant: Callable[[Plant], None]) -> None:
    def anchored(number: int, prompt: IclPrompt, layer: Tensor) -> None:
        if number == 0:
            layer[list(prompt.labels)] = 3.0
        if number == 2:
            layer[prompt.q, list(prompt.labels)] = 2.0

    plant(anchored)
    found = flow(setting_of(n=6)).figures
    # Of wp + pq + ww: (3 - 1) / (3 + 1 + 1) and (2 - 1) / (1 + 2 + 1).
    assert value(found["wp_early_minus_random"]) == pytest.approx(0.4)
    assert value(found["pq_late_minus_random"]) == pytest.approx(0.25)


def test_a_last_layer_of_which_only_the_answer_is_read_makes_no_anchors(
    setting_of: Callable[..., Setting], plant: Callable[[Plant], None]
) -> None:
    def without_anchors(number: int, prompt: IclPrompt, layer: Tensor) -> None:
        if number == 2:
            layer[: prompt.q] = 0.0

    plant(without_anchors)
    found = flow(setting_of(n=6)).figures
    assert value(found["wp_early_minus_late"]) > 0.3
    assert value(found["pq_minus_ww_late"]) > 0.3
    assert value(found["wp_early_minus_random"]) == pytest.approx(0)
    assert value(found["pq_late_minus_random"]) == pytest.approx(0)
