"""Puts what was written about words beside the units of the text: a value never moves to a unit of another text."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["exact", "normalised", "merged", "split"]
_RANK: dict[Kind, int] = {"exact": 3, "normalised": 2, "merged": 1, "split": 1}
_SAME = str.maketrans(
    dict.fromkeys("’‘‚‛`´′", "'")
    | dict.fromkeys("“”„‟«»″", '"')
    | dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("\u200b\ufeff\u00ad\ufe0e\ufe0f")
)
"""Quotes and dashes that mean the same; what cannot be seen is left out."""
_LONGEST = 64
"""Units that one written phrase can cover, and written words that can make up one unit."""
_PUNCTUATION = 8
"""Characters of punctuation that a run may have beyond what it is compared with."""
_CHARACTER, _KIND = 1 << 40, 1 << 20
"""Weights: first how many characters are matched, then how exactly, then how many neighbours stay neighbours."""


@dataclass(frozen=True)
class Match:
    """How what was written fits the units of the text, in numbers of units; every unit is counted once."""

    exact: int
    """Equal texts."""
    normalised: int
    """Equal up to case, Unicode form (NFKC), kind of quotes and dashes, and punctuation around."""
    merged: int
    """Covered by a written word together with other units, as "movie" and "." by "movie."."""
    split: int
    """Covered by several written words, as "don't" by "do" and "n't"."""
    unmatched: int
    """Without any written word."""
    invented: int
    """Written words or phrases that are not in the text, or not where the order of the others leaves them a place."""
    lettered: int
    """Units that have a letter or digit."""
    lettered_matched: int
    """Those of them that are matched."""

    @property
    def share(self) -> float:
        """Matched among the units with a letter or digit; among all units where none has one; 0 where there is no unit."""
        matched = self.exact + self.normalised + self.merged + self.split
        if self.lettered:
            return self.lettered_matched / self.lettered
        return matched / (matched + self.unmatched) if matched else 0.0


class _Group(NamedTuple):
    """Units that stand for written words, one of both being one."""

    unit: int
    unit_end: int
    word: int
    word_end: int
    characters: int
    kind: Kind


def align(written: Sequence[tuple[str, float]], units: Sequence[str]) -> tuple[list[float | None], Match]:
    """[unit] the value written for each unit, None where there is none.

    Words are matched in the order written, so that the most characters are matched (a weighted longest common subsequence over words; a
    word may cover several units, and several words one). Of equally good ways that is taken in which more texts are equal, then in which
    more neighbours stay neighbours, then the first. A word out of order is matched where its text stands once among the units and
    once among the written words. A word that covers several units gives its value to each of them. Of several words for one unit the value
    of largest magnitude counts: what is written are ratings on one scale, which a sum would leave, and punctuation with its 0 would thin a
    mean.
    """
    # No more can be meant than two words a character: what goes on for ever would take for ever.
    said = [word for word, _ in written[: 2 * sum(map(len, units)) + _LONGEST]]
    values: list[float | None] = [None] * len(units)
    kinds: dict[int, Kind] = {}
    matched = 0
    groups = _in_order(said, units)
    for group in (*groups, *_out_of_order(said, units, groups)):
        value = max((number for _, number in written[group.word : group.word_end]), key=abs)
        for unit in range(group.unit, group.unit_end):
            values[unit] = value
            kinds[unit] = group.kind
        matched += group.word_end - group.word
    return values, _match(kinds, units, len(written) - matched)


def places(phrases: Sequence[str], units: Sequence[str]) -> tuple[list[frozenset[int]], Match]:
    """[phrase] the units of each phrase, at all its places; none for a phrase that is not in the text.

    A phrase of several words is matched to consecutive units. Places of the same text, up to case and form, come before those without
    the punctuation around the phrase, and those before the ones with other punctuation inside.
    """
    longest = max((len(_form(phrase)) for phrase in phrases), default=0)
    tables: tuple[dict[str, list[tuple[int, int]]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))
    for start, end, keys in _runs(units, longest):
        for table, key in zip(tables, keys, strict=True):
            if key:
                table[key].append((start, end))
    found, kinds = [], dict[int, Kind]()
    for phrase in phrases:
        sought = (_form(phrase), _bare(phrase), _inner(phrase.split()))
        runs: list[tuple[int, int]] = next((table[key] for table, key in zip(tables, sought, strict=True) if key and key in table), [])
        for start, end in runs:
            kind = _kind([phrase], units[start:end])
            for unit in range(start, end):
                kinds[unit] = max(kinds.get(unit, kind), kind, key=_RANK.__getitem__)
        found.append(frozenset(unit for run in runs for unit in range(*run)))
    return found, _match(kinds, units, sum(not some for some in found))


def _match(kinds: dict[int, Kind], units: Sequence[str], invented: int) -> Match:
    counts = Counter(kinds.values())
    lettered = {unit for unit, text in enumerate(units) if any(sign.isalnum() for sign in text)}
    return Match(
        exact=counts["exact"],
        normalised=counts["normalised"],
        merged=counts["merged"],
        split=counts["split"],
        unmatched=len(units) - len(kinds),
        invented=invented,
        lettered=len(lettered),
        lettered_matched=len(lettered & kinds.keys()),
    )


@lru_cache(maxsize=1 << 16)
def _form(text: str) -> str:
    """The text without case, spaces and differences of form; "" for what cannot be seen."""
    form = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_SAME)).casefold())
    return "".join(form.translate(_SAME).split())


@lru_cache(maxsize=1 << 16)
def _bare(text: str) -> str:
    """The form without the punctuation around it; with it where there is nothing else."""
    form = _form(text)
    start, end = 0, len(form)
    while start < end and _around(form[start]):
        start += 1
    while end > start and _around(form[end - 1]):
        end -= 1
    return form[start:end] or form


def _around(sign: str) -> bool:
    return sign in "<>|~" or unicodedata.category(sign).startswith("P")


def _solid(text: str) -> bool:
    """Whether it is more than punctuation."""
    return not all(map(_around, _form(text)))


def _inner(texts: Sequence[str]) -> str:
    """Several words without any punctuation beside them; "" for fewer than two."""
    solid = [_bare(text) for text in texts if _solid(text)]
    return " ".join(solid) if len(solid) > 1 else ""


def _kind(said: Sequence[str], units: Sequence[str]) -> Kind:
    """How written words stand for units, one of both being one."""
    parts = [part for word in said for part in word.split()]
    if parts == [*units] or [*said] == [*units]:
        return "exact"
    if len(units) > 1:
        return "normalised" if [_bare(part) for part in parts] == [_bare(unit) for unit in units] else "merged"
    return "split" if len(parts) > len(units[0].split()) else "normalised"


def _runs(texts: Sequence[str], longest: int) -> Iterator[tuple[int, int, tuple[str, str, str]]]:
    """Every run of consecutive texts up to a length in characters, with its forms: as it is, without the punctuation around it, and
    without any between words. The last two are "" where the run begins or ends with nothing but punctuation."""
    for start in range(len(texts)):
        joined = ""
        for end in range(start + 1, min(len(texts), start + _LONGEST) + 1):
            joined += _form(texts[end - 1])
            if not joined or (end > start + 1 and len(joined) > longest + _PUNCTUATION):
                break
            if end == start + 1:
                yield start, end, (joined, _bare(texts[start]), "")
            elif _solid(texts[start]) and _solid(texts[end - 1]):
                yield start, end, (joined, _bare(joined), _inner(texts[start:end]))
            elif _form(texts[end - 1]):
                yield start, end, (joined, "", "")


def _candidates(said: Sequence[str], units: Sequence[str]) -> Iterator[_Group]:
    """All ways in which written words can stand for units, by their forms."""
    by_form: dict[str, list[int]] = defaultdict(list)
    by_bare: dict[str, list[int]] = defaultdict(list)
    by_inner: dict[str, list[int]] = defaultdict(list)
    for at, word in enumerate(said):
        if _form(word):
            by_form[_form(word)].append(at)
            by_bare[_bare(word)].append(at)
            by_inner[_inner(word.split())].append(at)
    alone: dict[str, list[int]] = defaultdict(list)
    for start, end, (form, bare, inner) in _runs(units, max(map(len, by_form), default=0)):
        same = by_form.get(form, [])
        close = [word for word in by_bare.get(bare, []) if _form(said[word]) != form] if bare else []
        loose = [word for word in by_inner.get(inner, []) if _bare(said[word]) != bare] if inner else []
        for matching, characters in ((same, len(form)), (close, len(bare)), (loose, len(inner.replace(" ", "")))):
            for at in matching:
                kind = "exact" if end == start + 1 and said[at] == units[start] else _kind([said[at]], units[start:end])
                yield _Group(start, end, at, at + 1, characters, kind)
        if end == start + 1:
            alone[form].append(start)
            if bare != form:
                alone[bare].append(start)
    for start, end, (form, bare, _) in _runs(said, max(map(len, alone), default=0)):
        if end > start + 1:
            for key in {form, bare} - {""}:
                for unit in alone.get(key, []):
                    if _form(units[unit]) == form or (bare and _bare(units[unit]) == bare):
                        yield _Group(unit, unit + 1, start, end, len(key), "split")


def _in_order(said: Sequence[str], units: Sequence[str]) -> list[_Group]:
    """The heaviest chain of candidates in which both units and words go forward."""
    # Best chain that ends at or before a unit, as a tree of prefix maxima; words are swept from the first to the last.
    starts: dict[int, list[_Group]] = defaultdict(list)
    for group in _candidates(said, units):
        starts[group.word].append(group)
    scores, before, chosen = [0], [-1], [_Group(0, 0, 0, 0, 0, "exact")]
    tree = [0] * (len(units) + 1)
    exactly: dict[tuple[int, int], int] = {}
    ended: dict[int, list[int]] = defaultdict(list)
    for word in range(len(said) + 1):
        for chain in ended.pop(word, []):
            at = chosen[chain].unit_end
            while at <= len(units) and scores[tree[at]] < scores[chain]:
                tree[at] = chain
                at += at & -at
        for group in sorted(starts.get(word, []), key=lambda group: (group.unit, group.unit_end)):
            best, at = 0, group.unit
            while at > 0:
                best = tree[at] if scores[tree[at]] > scores[best] else best
                at -= at & -at
            score = scores[best]
            beside = exactly.get((group.unit, group.word))
            if beside is not None and scores[beside] + 1 > score:
                best, score = beside, scores[beside] + 1
            score += group.characters * _CHARACTER + _RANK[group.kind] * _KIND
            end = (group.unit_end, group.word_end)
            if end in exactly and scores[exactly[end]] >= score:
                continue
            scores.append(score)
            before.append(best)
            chosen.append(group)
            exactly[end] = len(scores) - 1
            ended[group.word_end].append(len(scores) - 1)
    chain = max(range(len(scores)), key=scores.__getitem__)
    found = []
    while chain > 0:
        found.append(chosen[chain])
        chain = before[chain]
    return found[::-1]


def _out_of_order(said: Sequence[str], units: Sequence[str], groups: Sequence[_Group]) -> Iterator[_Group]:
    """Words that are left whose text stands once among the units and once among the words."""
    unit_forms, word_forms = (Counter(map(_bare, texts)) for texts in (units, said))
    taken = {unit for group in groups for unit in range(group.unit, group.unit_end)}
    spent = {word for group in groups for word in range(group.word, group.word_end)}
    places = {_bare(text): unit for unit, text in enumerate(units)}
    for word, text in enumerate(said):
        form = _bare(text)
        if word not in spent and form and unit_forms[form] == word_forms[form] == 1 and places[form] not in taken:
            yield _Group(places[form], places[form] + 1, word, word + 1, len(form), _kind([text], [units[places[form]]]))
