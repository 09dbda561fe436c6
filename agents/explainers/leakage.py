"""Few-shot leakage: weak explainers repeat an example's answer instead of reading the excerpts."""

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\w+(?:'\w+)?")
_COMMON = frozenset(
    _WORD.findall(
        "a an the of to in on at by for from with as and or nor but that which who this these those it its is are was were be been "
        "when where word words token tokens before after follow follows following right noun nouns verb verbs adjective adjectives "
        "name names beginning ending"
    )
)
NGRAM = 4
"""Shared runs of this many words, two of which say more than how explanations are put, are copies."""


def words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _ngrams(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + NGRAM]) for i in range(len(found) - NGRAM + 1)}


def leak(explanation: str, *, answers: Sequence[str], few_shots: Iterable[str], excerpts: Iterable[str]) -> str | None:
    """What the explanation took from the few-shot examples, in words, or None.

    `answers` are the examples' explanations, `few_shots` their excerpts, `excerpts` the texts of the site. An explanation that
    contains an answer leaks; so does one that shares a run of NGRAM words with an answer or an example that no excerpt contains.
    """
    said = f" {' '.join(words(explanation))} "
    for answer in answers:
        if f" {' '.join(words(answer))} " in said:
            return f"repeats the answer of an example, {answer!r}"
    known = {gram for text in (*answers, *few_shots) for gram in _ngrams(text)} - {gram for text in excerpts for gram in _ngrams(text)}
    for gram in sorted(_ngrams(explanation) & known):
        if sum(word not in _COMMON for word in gram) >= 2:
            return f"shares {' '.join(gram)!r} with an example"
    return None
