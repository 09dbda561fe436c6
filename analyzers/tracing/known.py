"""Which facts a model knows: those whose target's first token it finds likeliest of all behind the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from analyzers.last_logits import last_only
from analyzers.padding import like_lengths, padded
from analyzers.text_model import TextModel
from analyzers.tracing.located import Located


@dataclass(frozen=True)
class Said:
    """What a model would say behind a fact's prompt."""

    token: str
    """The likeliest one."""
    probability: float
    """Its own."""
    of_target: float
    """That of the target's first token."""
    known: bool


@torch.inference_mode()
def said(model: TextModel, facts: Sequence[Located]) -> list[Said]:
    """[fact]"""
    found: dict[int, Said] = {}
    for batch in like_lengths([len(fact.ids) for fact in facts]):
        ids, mask = padded([facts[number].ids for number in batch])
        ends = torch.tensor([len(facts[number].ids) - 1 for number in batch])
        keep = ids.shape[1] - int(ends.min())
        logits = model.logits(model.forward(ids, mask, **last_only(model.model, ids.shape[1], keep)))[:, -keep:]
        chosen = logits[torch.arange(len(batch)), ends - ids.shape[1] + keep].double().softmax(-1).cpu()
        for row, number in zip(chosen, batch, strict=True):
            best, target = int(row.argmax()), facts[number].target[0]
            found[number] = Said(model.tokens.text(best), float(row[best]), float(row[target]), best == target)
    return [found[number] for number in range(len(facts))]
