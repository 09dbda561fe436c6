"""Draws the material that explanations of a site are judged on from all its activations on held-out text.

The population is one window a block, its centre, so that no place depends on an activation and no two windows overlap. A window fires or
is silent by its own activations (material.LOUD, material.SILENT); what lies between is no item. Silent windows are drawn at random, and
the hard ones among them by the words the site fires on elsewhere (near-miss) and by meaning (neighbour). A window that repeats a text
the explainer saw, or another item, is passed over.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.duplicates import overlap
from analyzers.errors import Failed
from analyzers.evidence import Evidence, Excerpt, FloatArray, Split, Stratum
from analyzers.sites import Site
from evals.scoring.material import LOUD, SILENT, Item, Material

if TYPE_CHECKING:
    from analyzers.laboratory import Laboratory

SCANNED = 1500
"""Silent windows that near misses are looked for in."""
POOL = 400
"""Silent windows that neighbours are looked for in."""
REPEATED = 0.5
"""From this overlap with a text that the explainer saw on, a window is passed over."""
QUARTERS = ("q1", "q2", "q3", "q4")
"""Groups of the windows that fire, the loudest quarter last."""

Indices = npt.NDArray[np.intp]
Embed = Callable[[Sequence[str]], FloatArray]
"""[text, dim] vectors of length 1."""
TokenText = Callable[[int], str]


class Cut(Protocol):
    """How held-out text is cut into blocks, as analyzers.blocks has it."""

    @property
    def excerpt_tokens(self) -> int: ...

    def lengths(self, split: Split, start: int, stop: int) -> npt.NDArray[np.int32]: ...


class Store(Protocol):
    """All activations of a site, as analyzers.site_store has them."""

    @property
    def blocks(self) -> Any: ...

    def windows(self, site: Site, split: Split) -> FloatArray: ...

    def excerpt(self, site: Site, split: Split, block: int, start: int, token_text: TokenText, stratum: Stratum) -> Excerpt: ...


@dataclass(frozen=True)
class Sizes:
    """How many windows are drawn, as far as there are as many."""

    firing: int = 40
    random: int = 20
    near_miss: int = 10
    neighbour: int = 10
    weighted: int = 40


@dataclass(frozen=True, eq=False)
class Gathered(Material):
    """Items drawn from a population that was counted."""

    firing_windows: int = 0
    """Windows of the held-out text that fire."""
    silent_windows: int = 0
    windows: int = 0


def gather(
    store: Store,
    evidence: Evidence,
    token_text: TokenText,
    *,
    embed: Embed | None = None,
    lab: "Laboratory | None" = None,
    split: Split = "test",
    sizes: Sizes | None = None,
    seed: int = 0,
) -> Gathered | Failed:
    """The items of one site: firing ones evenly from the four quarters of their loudness, and silent ones; seeded.

    evidence: what the explainer was shown, for the peak, the words and what must not come again. Without `embed` there are no neighbours.
    Failed where the site never fires on what was shown.
    """
    site, peak, shown = evidence.site, evidence.peak, evidence.splits["explain"]
    if peak <= 0:
        return Failed("score", f"{site} never fires on the excerpts that were shown")
    drawing = _Drawing(store, site, split, token_text, shown)
    sizes, rng = sizes or Sizes(), np.random.default_rng(seed)
    fires, silent = np.flatnonzero(drawing.loudest >= LOUD * peak), np.flatnonzero(drawing.loudest < SILENT * peak)
    firing = [Item(window, True, group) for group, window in drawing.evenly(fires, sizes.firing, rng)]
    order = iter(rng.permutation(silent)[:SCANNED].tolist())
    random = [Item(window, False, "random") for window in drawing.new(order, sizes.random)]
    rest = [window for block in order if (window := drawing.window(block)) is not None]
    words = peak_words(shown, peak)
    near = [window for window in rest if not words.isdisjoint(map(_folded, window.tokens))]
    near_misses = [Item(window, False, "near-miss") for window in drawing.unseen(near, sizes.near_miss)]
    neighbours: list[Item] = []
    if embed is not None and firing and sizes.neighbour:
        pool = [window for window in rest if window.text not in drawing.texts][:POOL]
        nearest = nearest_of(embed, [item.excerpt.text for item in firing], pool)
        neighbours = [Item(window, False, "neighbour") for window in drawing.unseen(nearest, sizes.neighbour)]
    weighted = [window for block in by_weight(drawing.loudest, sizes.weighted, rng) if (window := drawing.window(block)) is not None]
    return Gathered(
        site=str(site),
        peak=peak,
        items=(*firing, *random, *near_misses, *neighbours),
        weighted=tuple(weighted),
        shown=tuple(shown),
        lab=lab,
        firing_windows=len(fires),
        silent_windows=len(silent),
        windows=len(drawing.loudest),
    )


def peak_words(shown: Sequence[Excerpt], peak: float) -> frozenset[str]:
    """The loudest token of each excerpt that fires, without case and space around."""
    loudest = (excerpt.tokens[int(excerpt.activations.argmax())] for excerpt in shown if excerpt.activations.max() >= LOUD * peak)
    return frozenset(word for token in loudest if (word := _folded(token)))


def nearest_of(embed: Embed, texts: Sequence[str], pool: Sequence[Excerpt]) -> Iterator[Excerpt]:
    """The windows of the pool nearest to one text after the other, then the second nearest to each, and so on; each window once."""
    if not pool:
        return
    closeness = embed(texts) @ embed([window.text for window in pool]).T
    ranked = np.argsort(-closeness, axis=1, kind="stable")
    yielded: set[int] = set()
    for rank in range(len(pool)):
        for row in range(len(texts)):
            number = int(ranked[row, rank])
            if number not in yielded:
                yielded.add(number)
                yield pool[number]


def by_weight(loudest: FloatArray, n: int, rng: np.random.Generator) -> list[int]:
    """So many windows, each drawn with a probability in proportion to its loudest activation [window], by systematic sampling.

    A window with more than its share of all is drawn for sure, more than once if it has several shares. Source: Madow 1949.
    """
    order = rng.permutation(len(loudest))
    ends = np.cumsum(loudest[order], dtype=np.float64)
    if not n or not len(ends) or ends[-1] <= 0:
        return []
    at = (rng.random() + np.arange(n)) * (ends[-1] / n)
    places = np.minimum(np.searchsorted(ends, at, side="right"), len(order) - 1)
    return [int(block) for block in order[places]]


class _Drawing:
    """The windows of one split, and what of them has been taken."""

    def __init__(self, store: Store, site: Site, split: Split, token_text: TokenText, shown: Sequence[Excerpt]) -> None:
        activations = store.windows(site, split)
        blocks: Cut = store.blocks
        length = blocks.excerpt_tokens
        # The centre, as the random excerpts of a pass.
        self._starts = (np.asarray(blocks.lengths(split, 0, len(activations)), np.intp) - length) // 2
        inside = self._starts[:, None] + np.arange(length)
        self.loudest: FloatArray = np.take_along_axis(activations, inside, axis=1).max(axis=1)
        """[block] of the window in the centre."""
        self.texts: set[str] = set()
        """Of the windows that were taken."""
        self._read: Callable[[int], Excerpt] = lambda block: store.excerpt(
            site, split, block, int(self._starts[block]), token_text, "random"
        )
        self._shown = [excerpt.text for excerpt in shown]

    def window(self, block: int) -> Excerpt | None:
        """The window of a block, None where the explainer saw its text."""
        window = self._read(block)
        return None if any(overlap(window.text, text) >= REPEATED for text in self._shown) else window

    def new(self, blocks: Iterable[int], n: int) -> list[Excerpt]:
        """The first so many windows, of the blocks that are used up for it, whose text is new; they are taken."""
        return self.unseen((window for block in blocks if (window := self.window(block)) is not None), n)

    def unseen(self, windows: Iterable[Excerpt], n: int) -> list[Excerpt]:
        """The first so many windows whose text has not been taken yet; they are."""
        taken: list[Excerpt] = []
        if not n:
            return taken
        for window in windows:
            if window.text not in self.texts:
                self.texts.add(window.text)
                taken.append(window)
                if len(taken) == n:
                    break
        return taken

    def evenly(self, fires: Indices, n: int, rng: np.random.Generator) -> list[tuple[str, Excerpt]]:
        """So many windows with their groups: in turn one of each quarter of the loudness, at random within it."""
        ranked = fires[np.argsort(self.loudest[fires], kind="stable")]
        quarters = [rng.permutation(part).tolist() for part in np.array_split(ranked, len(QUARTERS))]
        turns = [
            (group, block) for turn in zip_longest(*quarters) for group, block in zip(QUARTERS, turn, strict=True) if block is not None
        ]
        taken: list[tuple[str, Excerpt]] = []
        for group, block in turns:
            if len(taken) == n:
                break
            taken += [(group, window) for window in self.new([block], 1)]
        return taken


def _folded(token: str) -> str:
    return token.strip().casefold()
