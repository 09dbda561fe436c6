"""What explanations of one site are judged on: held-out excerpts, told apart by whether the site fires in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.evidence import Excerpt
from evals.scoring.labs import Activating

LOUD = 0.3
"""Share of the site's peak from which on an excerpt, or a token, is one that it fires on."""
SILENT = 0.1
"""Share of the peak below which the whole excerpt must stay to count as one that it does not fire in; what lies between is neither."""


@dataclass(frozen=True, eq=False)
class Item:
    """An excerpt that the site fires in, or verifiably does not."""

    excerpt: Excerpt
    fires: bool
    group: str
    """The stratum of a firing excerpt; how a silent one was found: random, neighbour (near in meaning), near-miss (has a token on which
    the site fires elsewhere)."""


@dataclass(frozen=True, eq=False)
class Material:
    """The held-out items of one site."""

    site: str
    peak: float
    """Loudest activation known, raw units."""
    items: tuple[Item, ...]
    weighted: tuple[Excerpt, ...] = ()
    """Drawn from the whole held-out corpus with probability proportional to the loudest activation: for recall."""
    shown: tuple[Excerpt, ...] = ()
    """Excerpts that the explainer saw, for what needs no held-out text; never scored on."""
    lab: Activating | None = None
    """The subject, for scorers that measure on it; None where there is none (planted neurons)."""

    @property
    def firing(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.fires)

    @property
    def silent(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if not item.fires)


def from_excerpts(site: str, excerpts: Sequence[Excerpt], peak: float, *, lab: Activating | None = None) -> Material:
    """The excerpts that are clearly one or the other; those between are left out of the items. peak: raw units, > 0."""
    items = []
    for excerpt in excerpts:
        loudest = float(excerpt.activations.max())
        if loudest >= LOUD * peak:
            items.append(Item(excerpt, True, excerpt.stratum))
        elif loudest < SILENT * peak:
            items.append(Item(excerpt, False, "random"))
    return Material(site, peak, tuple(items), lab=lab)
