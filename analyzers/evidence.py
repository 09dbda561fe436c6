"""Excerpts of a site, in splits: what an explainer is shown and what its explanation is scored on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from analyzers.sites import Site

FloatArray = npt.NDArray[np.float32]

Split = Literal["explain", "select", "calibrate", "test"]
"""Disjoint by document: what the explainer sees, what chooses among its candidates, what fits a calibration, what is scored."""

Stratum = Literal["top", "q95", "q75", "random"]
"""How an excerpt was drawn: among the loudest of the split, from the loudest 5 % or 25 % of random blocks, or at random."""

SPLITS: tuple[Split, ...] = get_args(Split)
STRATA: tuple[Stratum, ...] = get_args(Stratum)


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A window of tokens with its document."""

    document: str
    start: int
    """Index of the first token in the document's tokens."""
    tokens: tuple[str, ...]
    """Exact text of every token; joined they are the text of the window."""
    activations: FloatArray
    """[token] activation of the site's side, >= 0, raw units."""
    stratum: Stratum

    @property
    def key(self) -> str:
        """Names the window within its corpus."""
        return f"{self.document}:{self.start}"

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the raw activation (both sides) over the sampled tokens of all splits."""

    tokens: int
    mean: float
    variance: float
    firing: float
    """Share of tokens on which this side fires: activation beyond mean + 3 standard deviations in its direction."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The excerpts of one site; no document, and no near-duplicate of a window, is in two splits."""

    site: Site
    splits: Mapping[Split, tuple[Excerpt, ...]]
    moments: Moments

    @property
    def peak(self) -> float:
        """Largest activation among the explain excerpts, raw units; 0 for a side that never fires."""
        return max((float(excerpt.activations.max()) for excerpt in self.splits["explain"]), default=0.0)
