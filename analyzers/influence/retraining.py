"""Trains small models on passages, so that influence can be held against what training without some of them does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from analyzers.errors import AssetError
from analyzers.growing.recipe import Plan, Recipe
from analyzers.growing.small_model import optimiser_of, small_model
from analyzers.growing.small_tokenizer import small_tokenizer
from analyzers.padding import padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel
from analyzers.threads import torch_threads

RECIPE = Recipe(width=64, layers=2, heads=4, inner=160, vocabulary=512, context=64, batch=32, rate=3e-3)
"""Learns some hundred sentences in half a minute."""
THREADS = 2
"""At most: more make tiny matrices no faster, and their number has a part in how sums are rounded."""


@dataclass(frozen=True)
class Training:
    """What decides the weights, with the passages."""

    steps: int
    """Of a training on all passages; one on fewer has as many epochs, and so fewer steps."""
    seed: int = 0
    recipe: Recipe = RECIPE

    def steps_of(self, some: int, every: int) -> int:
        """On some of all passages."""
        return max(1, round(self.steps * some / every))


def tokenizer_of(texts: Sequence[str], recipe: Recipe = RECIPE) -> Any:
    """Of all passages: models that are compared read alike."""
    return small_tokenizer(texts, recipe.vocabulary, recipe.context)


def trained(
    tokenizer: Any, passages: Sequence[Sequence[int]], training: Training, every: int, *, what: str = "train", report: Report = quiet
) -> TextModel:
    """A model that has read these passages [passage][pos] of token ids, out of so many, in an order by seed, each equally often.

    Models of one seed begin with the same weights. Raises AssetError where the loss is no number.
    """
    steps, recipe = training.steps_of(len(passages), every), training.recipe
    plan = Plan(steps, "", recipe)
    with torch_threads(THREADS):
        network = small_model(recipe, tokenizer, training.seed)
        optimiser = optimiser_of(network, recipe)
        for step in range(1, steps + 1):
            report(what, step - 1, steps)
            ids, mask = padded([passages[number] for number in _drawn(len(passages), recipe.batch, step, training.seed)])
            loss = _loss(network, ids, mask)
            for group in optimiser.param_groups:
                group["lr"] = plan.rate(step)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        report(what, steps, steps)
        if not bool(torch.isfinite(loss)):
            raise AssetError(f"the loss of seed {training.seed} is no number; give another --seed")
    network.eval().requires_grad_(False)
    return TextModel(network, tokenizer, name=f"trained on {len(passages)} passages", identity={"source": "here", "revision": ""})


def _drawn(many: int, batch: int, step: int, seed: int) -> list[int]:
    """Of a step, counted from 1: every passage once before any comes again."""
    places = np.arange((step - 1) * batch, step * batch)
    orders = {epoch: np.random.default_rng([seed, epoch]).permutation(many) for epoch in sorted(set((places // many).tolist()))}
    return [int(orders[place // many][place % many]) for place in places.tolist()]


def _loss(network: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean surprisal in nats of every token but the first ones."""
    logits = network(input_ids=ids[:, :-1], attention_mask=mask[:, :-1]).logits.float()
    said = mask[:, 1:].bool()
    return F.cross_entropy(logits[said], ids[:, 1:][said])
