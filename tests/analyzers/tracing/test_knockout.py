"""Attention that is cut off, against a mask handed to the model itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.text_model import TextModel
from analyzers.tracing.knockout import cut_off
from analyzers.tracing.stack import Stack

IDS = [0, 5, 9, 300, 17, 44]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_cut_in_all_layers_it_is_a_mask(family: str, tiny_checkpoint: Callable[[str], Path]) -> None:
    model = TextModel.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu")
    found = cut_off(Stack(model), IDS, [([1, 3], range(3)), ([2], range(3)), ([1, 3], range(0))])
    with torch.inference_mode():
        for row, unseen in enumerate(([], [1, 3], [2], [])):
            mask = torch.zeros(1, 1, 6, 6).masked_fill(~torch.ones(6, 6, dtype=torch.bool).tril(), torch.finfo(torch.float32).min)
            mask[0, 0, -1, unseen] = torch.finfo(torch.float32).min
            positions = {"position_ids": torch.arange(6)[None]}
            expected = model.model(input_ids=torch.tensor([IDS]), attention_mask=mask, **positions).logits[0, -1]
            torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_each_cut_is_of_its_own_layers(tiny_checkpoint: Callable[[str], Path]) -> None:
    model = TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")
    stack = Stack(model)
    cuts = [([2], range(layer, layer + 1)) for layer in range(3)]
    together = cut_off(stack, IDS, cuts)
    for row, cut in enumerate(cuts, 1):
        torch.testing.assert_close(together[row], cut_off(stack, IDS, [cut])[1], rtol=1e-4, atol=1e-5)
    assert len({round(float(row[0]), 5) for row in together}) == 4


def test_what_cannot_be_cut_is_told(tiny_checkpoint: Callable[[str], Path]) -> None:
    model = TextModel.load(str(tiny_checkpoint("falcon")), dtype="float32", device="cpu")
    with pytest.raises(SubjectError, match="choose a model"):
        cut_off(Stack(model), IDS, [([1], range(1))])
