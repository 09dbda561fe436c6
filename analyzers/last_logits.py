"""Logits behind the last tokens of texts alone: the head is the largest matrix of a small model."""

import inspect
from typing import Any

import torch
from torch import Tensor


def takes(model: Any, argument: str) -> bool:
    """Whether the model's forward pass has an argument of that name."""
    return argument in inspect.signature(model.forward).parameters


def last_only(model: Any, length: int, keep: int = 1) -> dict[str, Tensor]:
    """Arguments with which a pass over texts of a length computes the logits of their last places alone, none where it cannot do so.

    Either way these are `logits[:, -keep:]`. The places are named one by one: of a count a view is taken, for whose product with the head
    a CPU copies the head for every text.
    """
    return {"logits_to_keep": torch.arange(length - keep, length, device=model.device)} if takes(model, "logits_to_keep") else {}
