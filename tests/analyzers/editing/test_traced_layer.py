"""The layer that tracing finds, beside putting back one MLP after the other by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analyzers.editing.traced_layer import TracedLayer, traced_layer
from analyzers.errors import Failed
from analyzers.facts import Fact
from analyzers.hooks import on_output, removed
from analyzers.mlps import decoder_blocks, down_projections
from analyzers.text_model import TextModel
from analyzers.tracing.located import Located, locate
from analyzers.tracing.plan import Tracing, spread
from analyzers.tracing.restoring import corrupted_run
from analyzers.tracing.stack import Stack

PROMPTS = [("The old bridge was", "old bridge"), ("The school teaches", "school"), ("In the valley the river rises", "river")]


def facts(model: TextModel) -> list[Fact]:
    """With what the model says as their targets."""
    found = []
    for prompt, subject in PROMPTS:
        ids = [*model.around[0], *model.tokens.encode(prompt)]
        with torch.inference_mode():
            order = model.model(input_ids=torch.tensor([ids])).logits[0, -1].argsort(descending=True).tolist()
        found.append(Fact(prompt, subject, model.tokens.text(order[0]), subject))
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_layer_is_where_most_is_regained(family: str, tiny_checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = TextModel.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu")
    monkeypatch.setattr("analyzers.editing.traced_layer.LEAST", 1)
    asked = facts(model)
    found = traced_layer(model, asked)
    assert isinstance(found, TracedLayer)
    located = [each for fact in asked if isinstance(each := locate(model, fact), Located)]
    # A token alone may be another one than behind its prompt, and then is not what the model says.
    with torch.inference_mode():
        located = [
            each for each in located if int(model.model(input_ids=torch.tensor([each.ids])).logits[0, -1].argmax()) == each.target[0]
        ]
    assert found.facts == len(located) > 0
    stack = Stack(model, ("mlp",))
    base = model.model.base_model
    first, modules = decoder_blocks(base)[0], down_projections(base, 32)
    tracing = Tracing(sigma=spread(stack, located), window=1, kinds=("mlp",))
    by_hand = np.zeros((len(located), 3))
    for row, fact in enumerate(located):
        noised = corrupted_run(stack, fact, list(fact.subject), tracing)
        for layer, module in enumerate(modules):
            kept: list[torch.Tensor] = []
            with torch.inference_mode(), removed(on_output(module, first, kept.append)):
                model.model(input_ids=torch.tensor([fact.ids]))

            def put_back(given: torch.Tensor, at: int = fact.last, clean: torch.Tensor = kept[0]) -> torch.Tensor:
                given = given.clone()
                given[:, at] = clean[0, at]
                return given

            with torch.inference_mode(), removed(on_output(module, first, put_back)):
                again = corrupted_run(stack, fact, list(fact.subject), tracing)
            by_hand[row, layer] = float(again.probabilities.mean() - noised.probabilities.mean())
    np.testing.assert_allclose(found.effects, by_hand.mean(0), rtol=1e-2, atol=1e-6)
    assert found.layer == int(by_hand.mean(0).argmax())


def test_too_few_facts_are_known(tiny_checkpoint: Callable[[str], Path]) -> None:
    model = TextModel.load(str(tiny_checkpoint("gpt2")), dtype="float32", device="cpu")
    unknown = [Fact("The old bridge was", "old bridge", " kingfisher", "1")] * 4
    found = traced_layer(model, unknown)
    assert isinstance(found, Failed)
    assert "knows 0 of 4 true targets" in found.reason
    assert isinstance(traced_layer(model, []), Failed)
