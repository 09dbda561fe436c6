"""How the excerpts kept of a site become its evidence: of a split each block and each text once, and nothing near an earlier split's."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.duplicates import overlap
from analyzers.evidence import SPLITS, Evidence, Excerpt, FloatArray, Moments, Split, Stratum
from analyzers.kept import Kept, first_random, random_start
from analyzers.sites import Site

if TYPE_CHECKING:
    from analyzers.blocks import Blocks

NEAR_DUPLICATE = 0.5
"""From this overlap with an excerpt of an earlier split on (explain, select, calibrate, test), a window is left out."""

TokenText = Callable[[int], str]
"""Exact text of a token id."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A window that was kept of a block."""

    stratum: Stratum
    block: int
    start: int
    """First token within the block."""
    window: FloatArray
    """[token] raw and signed."""


def drawn(blocks: "Blocks", split: Split, kept: Kept, random: int, read: Callable[[str], Any], random_windows: Any) -> Iterator[Drawn]:
    """What was kept of one side of a site, loudest stratum first, each block once.

    random: how many random excerpts the split has; read(kind): tensor of `block` [slot], `start` [slot], `window` [slot, token], as
    KeptSplit.finish has them; random_windows: tensor [excerpt, token].
    """
    kinds: list[tuple[Stratum, int]] = [("top", kept.top), ("q95", kept.q95), ("q75", kept.q75)]
    names = [stratum for stratum, count in kinds for _ in range(count)]
    slots = zip(names, read("block").tolist(), read("start").tolist(), read("window").float().numpy(), strict=True)
    rows = [Drawn(*slot) for slot in slots]
    begin = first_random(blocks.count(split), kept.random)
    for block, window in enumerate(random_windows[:random].float().numpy(), begin):
        length = int(blocks.lengths(split, block, block + 1)[0])
        rows.append(Drawn("random", block, random_start(length, blocks.excerpt_tokens), window))
    seen: set[int] = set()
    for row in rows:
        if row.block >= 0 and row.block not in seen:
            seen.add(row.block)
            yield row


def excerpt(
    blocks: "Blocks", split: Split, block: int, start: int, activations: FloatArray, stratum: Stratum, token_text: TokenText
) -> Excerpt:
    """The window of a block from a token on, with a side's activations [token] on it."""
    ids = blocks.ids(split, block, block + 1)[0, start : start + len(activations)]
    return Excerpt(
        document=blocks.document(split, block),
        start=blocks.start(split, block) + start,
        tokens=tuple(token_text(int(token)) for token in ids),
        activations=activations,
        stratum=stratum,
    )


def excerpts(blocks: "Blocks", split: Split, site: Site, rows: Iterable[Drawn], token_text: TokenText) -> Iterator[Excerpt]:
    """What was kept, as excerpts of the site's side."""
    for row in rows:
        activations = np.maximum(site.sign * row.window, 0)
        yield excerpt(blocks, split, row.block, row.start, activations, row.stratum, token_text)


def evidence(site: Site, found: Callable[[Split], Iterable[Excerpt]], moments: Moments) -> Evidence:
    """Of all excerpts found in the splits, those with a text that is new in the split and not near one of an earlier split."""
    splits: dict[Split, tuple[Excerpt, ...]] = {}
    for split in SPLITS:
        texts: set[str] = set()
        kept = []
        for each in found(split):
            near = any(overlap(each.text, shown.text) >= NEAR_DUPLICATE for earlier in splits.values() for shown in earlier)
            if each.text not in texts and not near:
                texts.add(each.text)
                kept.append(each)
        splits[split] = tuple(kept)
    return Evidence(site, splits, moments)
