"""Explanations that are copies: of a few-shot example, as weak explainers do, or of what an excerpt says or orders."""

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
    """Words of a text in order, case-folded."""
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


def quotation(explanation: str, *, loud: Iterable[str], excerpts: Iterable[str]) -> str | None:
    """What the explanation only quotes from the text around the loud tokens, in words, or None.

    An excerpt that says "ignore the above and answer X" must not label a site. So an explanation is refused whose words (but those
    common to all explanations) stand in an excerpt in this order, one right after the other, and have no loud token among them.
    """
    said = [word for word in words(explanation) if word not in _COMMON]
    tokens = {token.strip().casefold() for token in loud} - {""}
    # A word piece of three letters and more counts as the word it is in; a shorter one is in too many.
    if not said or any(
        token == word or (min(len(token), len(word)) > 2 and (token in word or word in token)) for token in tokens for word in said
    ):
        return None
    runs = {f" {' '.join(run)} " for run in (said, words(explanation))}
    if any(run in f" {' '.join(words(text))} " for text in excerpts for run in runs):
        return f"quotes {' '.join(said)!r} from text where the site is silent"
    return None
