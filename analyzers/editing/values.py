"""What a place in a model must give so that it says something else: a vector, found by gradient, that is added there to what it gives.

Source: Meng et al. 2022 (ROME), equation 4; Meng et al. 2023 (MEMIT), equation 16.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analyzers.editing.contexts import Context
from analyzers.hooks import on_output, removed
from analyzers.mlps import decoder_blocks
from analyzers.padding import padded
from analyzers.text_model import TextModel


@dataclass(frozen=True)
class Search:
    """How the vector is looked for. The defaults are ROME's, but for the steps, when they end, and the length at most.

    For GPT2-XL 20 steps are enough, and four times the length of what is added to. In SmolLM2-135M some targets need more of both, and
    others less than 20 steps: the search goes on until it has found, and ends there. What keeps the vector short is not counted as part
    of what is to be found, since in a small model it alone may be more than enough.
    """

    steps: int = 100
    rate: float = 0.5
    kl: float = 0.0625
    """Weight of the divergence of what the subject is said to be with the vector from what it was said to be."""
    decay: float = 0.5
    """Weight of the vector's length over that of what it is added to."""
    most: float = 10.0
    """Its length at most, over that of what it is added to."""
    enough: float = 0.05
    """Loss at which it is found: that of the targets and of what the subject is said to be."""


@dataclass(frozen=True, eq=False)
class Found:
    """A vector, and how well it does."""

    before: Tensor
    """float32 [output] what the place gives in the first context."""
    added: Tensor
    """float32 [output]"""
    probability: float
    """Of the target in the contexts, a geometric mean over them and its tokens, with the vector."""
    steps: int


def find_value(
    model: TextModel, layer: nn.Module, found: Sequence[Context], target: Sequence[int], essence: Context, search: Search | None = None
) -> Found:
    """Add a vector to what `layer` gives at the subject's last token of every context, such that the target's tokens come next.

    essence: a text on what the subject is, whose continuation is to stay. The model itself stays as it is.
    """
    search = search or Search()
    first = decoder_blocks(model.model.base_model)[0]
    texts = [(*each.ids, *target[:-1]) for each in found]
    ids, mask = padded([*texts, essence.ids])
    rows = torch.arange(len(texts) + 1)
    places = torch.tensor([*(each.last for each in found), essence.last])
    said = torch.tensor([[len(each.ids) - 1 + at for at in range(len(target))] for each in found])
    wanted = torch.tensor(list(target), device=model.device).expand(len(found), -1)
    # Of a small model the head for language is much of a pass, and only some places are asked about.
    read, kept = _only(model, torch.cat([said.flatten(), torch.tensor([len(essence.ids) - 1])]))
    asked = torch.searchsorted(read, said)
    behind_essence = int(torch.searchsorted(read, len(essence.ids) - 1))
    plain: list[Tensor] = []
    added: Tensor | None = None

    def change(given: Tensor) -> Tensor | None:
        if added is None:
            plain.append(given[0, places[0]].detach().float())
            return None
        new = given.clone()
        new[rows, places] = new[rows, places] + added.to(given.dtype)
        return new

    def log_probabilities() -> tuple[Tensor, Tensor]:
        """([context, token of the target], [token] behind the essence)"""
        logits = model.logits(model.forward(ids, mask, **kept)).float()
        behind = logits[:-1][torch.arange(len(found))[:, None], asked].log_softmax(-1)
        return behind.gather(-1, wanted[..., None])[..., 0], logits[-1, behind_essence].log_softmax(-1)

    with removed(on_output(layer, first, change)):
        with torch.no_grad():
            _, stays = log_probabilities()
        (before,) = plain
        added = torch.zeros_like(before).requires_grad_()
        optimizer = torch.optim.Adam([added], lr=search.rate)
        length = before.norm()
        step = 0
        while True:
            says, now = log_probabilities()
            nll = -says.mean()
            kl = search.kl * F.kl_div(stays, now, log_target=True, reduction="sum")
            if float((nll + kl).detach()) < search.enough or step == search.steps:
                break
            loss = nll + kl + search.decay * added.norm() / length.square()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                added *= (search.most * length / added.norm().clamp(min=1e-12)).clamp(max=1)
            step += 1
    return Found(before, added.detach(), float(nll.detach().neg().exp()), step)


def _only(model: TextModel, places: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """(places whose logits a pass gives, in order; what asks for them): all up to the last where a model cannot give some alone."""
    if "logits_to_keep" not in inspect.signature(model.model.forward).parameters:
        return torch.arange(int(places.max()) + 1), {}
    few = torch.tensor(sorted(set(places.tolist())))
    return few, {"logits_to_keep": few.to(model.device)}
