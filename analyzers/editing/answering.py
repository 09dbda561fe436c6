"""What a model says behind prompts, edited or not: how likely targets are, what it would say in their place, and how it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.padding import like_lengths, padded
from analyzers.text_model import TextModel
from analyzers.whole_text import whole_text

MOST_LIKELY = 5
"""Tokens among which one is drawn (Meng et al. 2022)."""


@dataclass(frozen=True)
class Said:
    """Of one target behind its prompt, each token given those before it."""

    tokens: tuple[int, ...]
    """Of the target; none where it was only asked what comes next."""
    likeliest: tuple[int, ...]
    """What the model would say in the place of each, or next."""
    logprob: float
    """Mean over the target's tokens, in nats; 0 of none."""

    @property
    def match(self) -> float:
        """Share of the target's tokens that the model would say; there must be some."""
        return sum(one == other for one, other in zip(self.tokens, self.likeliest, strict=True)) / len(self.tokens)


@torch.inference_mode()
def said(model: TextModel, asked: Sequence[tuple[str, str | None]]) -> list[Said]:
    """Of each (prompt, target), without a target of the next token.

    Raises SubjectError for a target that is no continuation of its prompt, for a text that is too long, and for probabilities that are no
    numbers.
    """
    read = [(model.begun(prompt).ids, () if target is None else model.continuation(prompt, target)) for prompt, target in asked]
    for before, target in read:
        model.check_length(len(before) + len(target))
    found: dict[int, Said] = {}
    for batch in like_lengths([len(ids) + len(target) for ids, target in read]):
        ids, mask = padded([(*read[number][0], *read[number][1][:-1]) for number in batch])
        logits = model.logits(model.forward(ids, mask))
        for row, number in enumerate(batch):
            before, target = read[number]
            own = logits[row, len(before) - 1 : len(before) - 1 + max(1, len(target))].float().log_softmax(-1)
            likely = own[range(len(target)), target]
            if not torch.isfinite(own).all():
                raise SubjectError(f"{model.name!r} gives probabilities that are no numbers in {model.identity['dtype']}; use float32")
            found[number] = Said(target, tuple(own.argmax(-1).tolist()), float(likely.double().sum()) / max(1, len(target)))
    return [found[number] for number in range(len(read))]


@torch.inference_mode()
def written_on(model: TextModel, prompt: str, most: int, *, seed: int | None = None) -> str:
    """How the model goes on behind a prompt, in `most` tokens at most.

    seed: each token is drawn among the likeliest five by their probabilities; None: it is the likeliest one.
    """
    own = getattr(model.model.generation_config, "eos_token_id", None)
    ends = {model.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
    draws = None if seed is None else torch.Generator().manual_seed(seed)
    ids = list(model.begun(prompt).ids)
    model.check_length(len(ids))
    if model.limit is not None:
        most = min(most, model.limit - len(ids))
    found: list[int] = []
    cache = None
    read = torch.tensor([ids])
    while len(found) < most:
        output = model.model(input_ids=read.to(model.device), past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        token = _next(model.logits(output)[0, -1].float().cpu(), draws)
        if token in ends:
            break
        found.append(token)
        read = torch.tensor([[token]])
    return whole_text(model.tokens.decode(found, special=False))


def _next(logits: Tensor, draws: torch.Generator | None) -> int:
    if draws is None:
        return int(logits.argmax())
    best = logits.topk(min(MOST_LIKELY, len(logits)))
    return int(best.indices[torch.multinomial(best.values.softmax(-1), 1, generator=draws)])
