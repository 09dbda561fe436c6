"""What a subject's output is when one side of a site is given other activations than its own.

Only the side that is studied is replaced: where the raw activation has the other sign, that part of it stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from analyzers.divergences import jensen_shannon
from analyzers.errors import Failed
from analyzers.evidence import FloatArray
from analyzers.outputs import Outputs
from analyzers.padding import like_lengths, padded
from analyzers.sites import Site

if TYPE_CHECKING:
    from analyzers.subject import Subject


@dataclass(frozen=True, eq=False)
class AblationEffect:
    """What changes in one text."""

    tokens: tuple[str, ...]
    divergence: FloatArray
    """[token] Jensen-Shannon divergence, in nats, of the next-token distributions right after the token."""
    before: tuple[str, ...]
    """[token] likeliest next token of the model as it is."""
    after: tuple[str, ...]
    """[token] likeliest next token when the site is replaced."""


def raw_activations(subject: "Subject", site: Site, texts: Sequence[Sequence[int]]) -> list[FloatArray]:
    """[text][token] raw signed activations; the texts are token ids that begin with the subject's prefix, which is left out."""
    found: list[FloatArray] = [np.empty(0, np.float32)] * len(texts)
    seen: list[Tensor] = []
    first = len(subject.prefix)
    for batch in like_lengths([len(text) for text in texts]):
        seen.clear()
        with subject.reading([site], lambda _columns, raw: seen.append(raw[..., 0].float())):
            subject.forward(*padded([texts[number] for number in batch]))
        raw = seen[0].cpu().numpy()
        for row, number in enumerate(batch):
            found[number] = raw[row, first : len(texts[number])].copy()
    return found


def replaced(
    subject: "Subject", outputs: Outputs, site: Site, texts: Sequence[Sequence[int]], values: Sequence[FloatArray]
) -> list[AblationEffect | Failed]:
    """The effect of giving the site's side these activations [text][token], >= 0, raw units; texts as in `raw_activations`."""
    found: list[AblationEffect | Failed] = [Failed("ablate", "not computed")] * len(texts)
    first = len(subject.prefix)
    for batch in like_lengths([len(text) for text in texts]):
        ids, mask = padded([texts[number] for number in batch])
        wanted, at = torch.zeros(ids.shape), torch.zeros(ids.shape, dtype=torch.bool)
        for row, number in enumerate(batch):
            wanted[row, first : len(texts[number])] = torch.from_numpy(np.asarray(values[number], np.float32))
            at[row, first : len(texts[number])] = True
        plain = outputs.hidden(ids, mask)
        with subject.patching(site, _giving(site, wanted.to(plain.device), at.to(plain.device))):
            patched = outputs.hidden(ids, mask)
        where = at.to(plain.device)
        parts = [
            (jensen_shannon(one, other), one.argmax(-1), other.argmax(-1)) for one, other in outputs.chunks(plain[where], patched[where])
        ]
        divergences, before, after = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        start = 0
        for row, number in enumerate(batch):
            span = slice(start, start + int(at[row].sum()))
            start = span.stop
            if not divergences[span].isfinite().all():
                found[number] = Failed("ablate", "the output of the subject is not finite")
                continue
            texts_of = (texts[number][first:], before[span].tolist(), after[span].tolist())
            tokens, was, now = (tuple(subject.token_text(token) for token in ids_of) for ids_of in texts_of)
            # Rounding may leave an equal pair a little below 0.
            found[number] = AblationEffect(tokens, divergences[span].clamp(min=0).numpy(), was, now)
    return found


def _giving(site: Site, wanted: Tensor, at: Tensor) -> Callable[[Tensor], Tensor]:
    """Raw activations [batch, pos] with the site's side `wanted` [batch, pos] in the places `at`."""

    def change(raw: Tensor) -> Tensor:
        side = (site.sign * raw.float()).clamp(min=0)
        return torch.where(at, raw.float() + site.sign * (wanted - side), raw.float()).to(raw.dtype)

    return change
