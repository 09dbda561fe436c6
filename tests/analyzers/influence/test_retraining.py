"""Small models trained on passages."""

from collections import Counter

import pytest
import torch
from torch.nn import functional as F

from analyzers.growing.recipe import Recipe
from analyzers.influence.retraining import Training, _drawn, _loss, tokenizer_of, trained
from analyzers.padding import padded

TEXTS = ["The river rises in the hills.", "Herons fish.", "A bridge of stone was built over the river.", "Otters and herons."] * 3
RECIPE = Recipe(width=32, layers=1, heads=2, inner=48, vocabulary=300, context=64, batch=4)


def test_every_passage_is_read_equally_often() -> None:
    read = Counter(number for step in range(1, 16) for number in _drawn(10, 4, step, 0))
    assert read == Counter(dict.fromkeys(range(10), 6))
    assert _drawn(10, 4, 3, 0) == _drawn(10, 4, 3, 0)
    assert [_drawn(10, 4, step, 0) for step in range(1, 4)] != [_drawn(10, 4, step, 1) for step in range(1, 4)]
    assert sorted(_drawn(3, 8, 1, 0)[:3]) == [0, 1, 2]


def test_fewer_passages_have_as_many_epochs() -> None:
    assert [Training(400).steps_of(some, 200) for some in (200, 100, 1)] == [400, 200, 2]


def test_training_learns_and_hangs_on_the_seed_alone() -> None:
    tokenizer = tokenizer_of(TEXTS, RECIPE)
    ids = [tokenizer.encode(text) for text in TEXTS]

    def weights(seed: int, steps: int = 6) -> torch.Tensor:
        model = trained(tokenizer, ids, Training(steps, seed, RECIPE), len(ids))
        assert not any(each.requires_grad for each in model.model.parameters())
        return torch.cat([each.flatten() for each in model.model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    batch = padded(ids)
    before, after = (float(_loss(trained(tokenizer, ids, Training(steps, 0, RECIPE), len(ids)).model, *batch)) for steps in (1, 40))
    assert after < before - 0.5


def test_the_loss_is_of_every_token_but_the_first_and_no_padding() -> None:
    tokenizer = tokenizer_of(TEXTS, RECIPE)
    ids = [tokenizer.encode(text) for text in TEXTS[:3]]
    network = trained(tokenizer, ids, Training(1, 0, RECIPE), len(ids)).model
    losses: list[float] = []
    for text in ids:
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([text])).logits[0, :-1]
            losses += F.cross_entropy(logits, torch.tensor(text[1:]), reduction="none").tolist()
    assert float(_loss(network, *padded(ids))) == pytest.approx(sum(losses) / len(losses), rel=1e-4)
