"""A model that has learnt nothing, to see what its architecture alone does."""

import copy
from typing import Any

import torch


def fresh_weights(model: Any, seed: int) -> Any:
    """A model of the same configuration, number format and device, with weights drawn as its family draws them before training."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made = type(model)(copy.deepcopy(model.config))
    return made.to(device=model.device, dtype=model.dtype).eval().requires_grad_(False)
