"""A fact's prompt behind several beginnings that a model writes itself, so that what is found of the subject holds wherever it stands."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analyzers.errors import SubjectError
from analyzers.hooks import on_input, removed
from analyzers.mlps import decoder_blocks
from analyzers.padding import padded
from analyzers.states.reading import bare_pass
from analyzers.text_model import TextModel
from analyzers.tokens import Span

LENGTHS = ((6, 10), (6, 5))
"""(beginnings, tokens) of them. Meng et al. 2022 have 20 of 2 to 10 tokens, of which each costs as much as the next."""


@dataclass(frozen=True)
class Context:
    """A prompt as it is read, and where its subject is."""

    ids: tuple[int, ...]
    last: int
    """Place of the subject's last token."""


@torch.inference_mode()
def beginnings(model: TextModel, seed: int) -> list[str]:
    """Texts that the model writes behind nothing, the empty one first."""
    start = list(model.around[0]) or [int(model.tokens.encode("The")[0])]
    drawn = torch.Generator().manual_seed(seed)
    found = [""]
    for many, length in LENGTHS:
        ids = torch.tensor([start] * many)
        for _ in range(length):
            logits = model.logits(model.forward(ids))[:, -1].float().cpu()
            ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1, generator=drawn)], 1)
        for row in ids.tolist():
            text = " ".join(model.tokens.decode(row[len(start) :], special=False).split())
            found.append(f"{text}. " if text else "")
    return list(dict.fromkeys(found))


def contexts(model: TextModel, prompt: str, subject: Span, before: Sequence[str]) -> list[Context]:
    """The prompt behind each beginning. Raises SubjectError where it is too long or its subject has no token."""
    found = []
    for beginning in before:
        read = model.begun(beginning + prompt)
        model.check_length(len(read))
        start, end = (at + len(beginning) for at in subject)
        own = read.covering((start, end))
        if not own:
            raise SubjectError(f"the subject {prompt[slice(*subject)]!r} has no token of its own in {prompt!r}; write it out")
        found.append(Context(read.ids, own[-1]))
    return found


@torch.inference_mode()
def keys(model: TextModel, layer: nn.Module, found: Sequence[Context]) -> Tensor:
    """float32 [context, input] what goes into a linear layer at the subject's last token."""
    first = decoder_blocks(model.model.base_model)[0]
    kept: list[Tensor] = []
    with removed(on_input(layer, first, kept.append)):
        bare_pass(model, *padded([each.ids for each in found]))
    return kept[0][torch.arange(len(found)), torch.tensor([each.last for each in found])].float()
