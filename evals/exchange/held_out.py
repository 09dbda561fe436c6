"""Deals somebody else's records out to the splits, so that nothing is scored which their explainer was shown.

Copies of a text are one record. Records of one document, and near-duplicates (half of the shorter text's words stand in the other, which
windows that overlap do), belong together, and what belongs to a shown record is never scored. Of the rest each group gives its loudest
record, dealt out by rank so that every split has loud and silent ones.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analyzers.duplicates import SHINGLE, overlap, words
from analyzers.evidence import SPLITS, Excerpt, Split
from evals.exchange.explanations import candidates
from evals.exchange.record import Feature, Record, distinct
from evals.leak_audit import NEAR_DUPLICATE

MOST_SCORED = 60
"""Records of a site that are scored at most, where nothing else is said."""

_SHARES: Mapping[tuple[bool, bool], Mapping[Split, float]] = {
    (True, False): {"test": 0.75, "calibrate": 0.25},
    (True, True): {"test": 0.6, "select": 0.2, "calibrate": 0.2},
    (False, False): {"test": 0.45, "explain": 0.4, "calibrate": 0.15},
    (False, True): {"test": 0.36, "explain": 0.4, "select": 0.12, "calibrate": 0.12},
}
"""By whether some record was shown, and whether there are explanations to choose from: of the groups that are dealt out."""


def deal(feature: Feature, *, most: int = MOST_SCORED) -> dict[Split, tuple[Excerpt, ...]]:
    """The excerpts of every split; `most`: how many are tested, a quarter of that for each of select and calibrate.

    The look-ups learn from `explain`: the records that were shown and all that belongs to them; where none is known to have been shown,
    from a share of the others.
    """
    records = distinct(feature.records)
    groups = grouped(records)
    shown = [group for group in groups if any(records[at].shown for at in group)]
    free = sorted((max(group, key=lambda at: records[at].peak) for group in groups if group not in shown), key=lambda at: -records[at].peak)
    shares = _SHARES[bool(shown), len(candidates(feature.told)) > 1]
    dealt: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for at in free:
        total = 1 + sum(map(len, dealt.values()))
        dealt[max(shares, key=lambda split: (not dealt[split], shares[split] * total - len(dealt[split])))].append(at)
    cuts = {"test": most, "select": max(2, most // 4), "calibrate": max(2, most // 4)}
    chosen = {split: _evenly(found, cuts.get(split, len(found))) for split, found in dealt.items()}
    chosen["explain"] += sorted(at for group in shown for at in group)
    number = {at: place for place, group in enumerate(groups) for at in group}
    return {split: tuple(excerpt(feature, records[at], number[at]) for at in found) for split, found in chosen.items()}


def excerpt(feature: Feature, record: Record, group: int) -> Excerpt:
    """A record as an excerpt of its site's side; the group stands for its document where that has no name."""
    document = f"record {group}" if record.document is None else record.document
    return Excerpt(
        f"{feature.key}/{document}",
        record.start,
        record.tokens,
        np.maximum(record.values, 0).astype(np.float32),
        "top" if record.loudest else "random",
    )


def grouped(records: Sequence[Record]) -> list[list[int]]:
    """Indices of records that belong together: of one document, or near-duplicates, one leading to the next."""
    parent = list(range(len(records)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for a, b in _pairs(records):
        if root(a) != root(b) and (_same_document(records[a], records[b]) or overlap(records[a].text, records[b].text) >= NEAR_DUPLICATE):
            parent[max(root(a), root(b))] = min(root(a), root(b))
    groups: dict[int, list[int]] = defaultdict(list)
    for at in range(len(records)):
        groups[root(at)].append(at)
    return list(groups.values())


def _same_document(a: Record, b: Record) -> bool:
    return a.document is not None and a.document == b.document


def _pairs(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    """Pairs that can belong together: of one document, with five words in a row in common, or one of them shorter than that."""
    seen: dict[object, list[int]] = defaultdict(list)
    short: list[int] = []
    for at, record in enumerate(records):
        spoken = words(record.text)
        keys: set[object] = {tuple(spoken[i : i + SHINGLE]) for i in range(len(spoken) - SHINGLE + 1)}
        if record.document is not None:
            keys.add(record.document)
        # Those of one record at a time: of records that all share a phrase, all pairs together would not fit into memory.
        others = set(short if len(spoken) >= SHINGLE else range(at))
        for key in keys:
            others.update(seen[key])
            seen[key].append(at)
        yield from ((other, at) for other in others)
        if len(spoken) < SHINGLE:
            short.append(at)


def _evenly(found: Sequence[int], most: int) -> list[int]:
    """So many of them, evenly over their order."""
    if len(found) <= most:
        return list(found)
    return [found[at] for at in sorted(set(np.linspace(0, len(found) - 1, most).round().astype(int).tolist()))]
