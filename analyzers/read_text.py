"""What places in a model do while it reads one text that somebody has just written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from analyzers.errors import SubjectError
from analyzers.evidence import FloatArray
from analyzers.sites import Site

if TYPE_CHECKING:
    from analyzers.subject import Subject


@dataclass(frozen=True, eq=False)
class TextReading:
    """One text, read once."""

    tokens: tuple[str, ...]
    """[token] exact text of each, with its leading space."""
    activations: FloatArray
    """[site, token] float32 in the raw units of the model: what the site's side shows, 0 where the neuron is on the other side."""


def read_text(subject: "Subject", text: str, sites: Sequence[Site], *, longest: int) -> TextReading:
    """Run the subject over a text and read the sites on every token of it.

    longest: tokens that the text may have. Raises SubjectError for a text that has none or more, for a site that the model does not
    have, and for activations that are not finite.
    """
    ids = subject.encode(text)
    if not ids:
        raise SubjectError("the text is empty: write some words")
    if len(ids) > longest:
        raise SubjectError(f"the text has {len(ids):,} tokens of {subject.name}: shorten it to {longest:,} at most")
    raw = subject.activations(torch.tensor([[*subject.prefix, *ids]]), sites)[0, len(subject.prefix) :].T
    if not raw.isfinite().all():
        raise SubjectError(f"{subject.name!r}: activations are not finite in {subject.identity['dtype']!r}; load it with dtype float32")
    signs = torch.tensor([site.sign for site in sites], dtype=raw.dtype)
    return TextReading(tuple(map(subject.token_text, ids)), (raw * signs[:, None]).clamp(min=0).numpy())
