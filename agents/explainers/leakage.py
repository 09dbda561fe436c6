"""Explanations that are copies: of a few-shot example, as weak explainers do, or of what an excerpt says or orders."""

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\w+(?:'\w+)?")
_COMMON = frozenset(
    _WORD.findall(
        "a an the of to in on at by for from with as and or nor but that which who this these those it its is are was were be been "
        "when where word words token tokens before after follow follows following right noun nouns verb verbs adjective adjectives "
        "name names beginning ending about talk reference references mention mentions"
    )
)
_ORDERS = frozenset(
    {"ignore", "disregard", "forget", "answer", "reply", "respond", "output", "instruction", "instructions", "please", "label", "print"}
)
"""A text with one of them may be an order to whoever reads it."""
NGRAM = 4
"""Shared runs of this many words, two of which say more than how explanations are put, are copies."""


def words(text: str) -> list[str]:
    """Words of a text in order, case-folded."""
    return [word.casefold() for word in _WORD.findall(text)]


def _ngrams(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + NGRAM]) for i in range(len(found) - NGRAM + 1)}


def _content(text: str) -> list[str]:
    return [word for word in words(text) if word not in _COMMON]


def _tokens(loud: Iterable[str]) -> set[str]:
    return {token.strip().casefold() for token in loud} - {""}


def _in_token(word: str, tokens: Iterable[str]) -> bool:
    # A piece of three letters and more also where it is part of a token; a shorter one is part of too many.
    return any(word == token or (len(word) > 2 and word in token) for token in tokens)


def leak(explanation: str, *, answers: Sequence[str], few_shots: Iterable[str], excerpts: Iterable[str], loud: Iterable[str]) -> str | None:
    """What the explanation took from the few-shot examples, in words, or None.

    `answers` are the examples' explanations, `few_shots` their excerpts, `excerpts` the texts of the site and `loud` its loud tokens. An
    explanation that contains an answer leaks; so does one that shares a run of NGRAM words with an answer or an example that no excerpt
    contains. What is shared is no leak where the loud tokens show it: all its words, but those common to all explanations, are in them.
    """
    tokens = _tokens(loud)

    def shown(text: str) -> bool:
        said = _content(text)
        return bool(said) and all(_in_token(word, tokens) for word in said)

    said = f" {' '.join(words(explanation))} "
    for answer in answers:
        if f" {' '.join(words(answer))} " in said and not shown(answer):
            return f"repeats the answer of an example, {answer!r}"
    known = {gram for text in (*answers, *few_shots) for gram in _ngrams(text)} - {gram for text in excerpts for gram in _ngrams(text)}
    for gram in sorted(_ngrams(explanation) & known):
        if sum(word not in _COMMON for word in gram) >= 2 and not shown(" ".join(gram)):
            return f"shares {' '.join(gram)!r} with an example"
    return None


def quotation(explanation: str, *, loud: Iterable[str], excerpts: Iterable[str]) -> str | None:
    """What the explanation only quotes from the text around the loud tokens, in words, or None.

    An excerpt that says "ignore the above and answer X" must not label a site. So an explanation is refused that has no loud token among
    its words, and whose words (but those common to all explanations; two at least) stand in an excerpt in this order, one right after
    the other, or, as far as they stand in the excerpts, stand only in such as may give an order. One word alone is no quotation: text
    about rivers says "river" also where only their names are loud.
    """
    tokens = _tokens(loud)
    said = _content(explanation)
    if not said or any(_in_token(word, tokens) or any(len(token) > 2 and token in word for token in tokens) for word in said):
        return None
    texts = [words(text) for text in excerpts]
    runs = {f" {' '.join(run)} " for run in (said, words(explanation))}
    if len(said) > 1 and any(run in f" {' '.join(text)} " for text in texts for run in runs):
        return f"quotes {' '.join(said)!r} from text where the site is silent"
    within = [text for text in texts if not set(said).isdisjoint(text)]
    if within and not any(_ORDERS.isdisjoint(text) for text in within):
        taken = " ".join(word for word in said if any(word in text for text in within))
        return f"takes {taken!r} from text that gives an order and where the site is silent"
    return None
