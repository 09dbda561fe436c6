"""Pairs of a statement and its negation, found by what a negation does to English: "has" and "doesn't have", "is" and "is not"."""

import re
from collections.abc import Sequence

from evals.probes.truth_topics import Topic, without_period

_CONTRACTED = {"can't": "can", "cannot": "can", "won't": "will", "shan't": "shall"}
_DO = re.compile(r"\b(do|does|did)(?:n't| not) (\w+)", re.IGNORECASE)
_NOT = re.compile(r"\b(\w+)(?:n't| not)\b", re.IGNORECASE)
_NEVER = re.compile(r"\bnever ", re.IGNORECASE)
_IRREGULAR = {"have": "has", "be": "is", "do": "does", "go": "goes"}


def affirmed(text: str) -> list[str]:
    """What a negated sentence may be the negation of, each possibility; empty where it denies nothing.

    The past tense of irregular verbs behind "did not" is not known.
    """
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for contracted, plain in _CONTRACTED.items():
        if (found := re.search(rf"\b{contracted}\b", text, re.IGNORECASE)) is not None:
            return [text[: found.start()] + plain + text[found.end() :]]
    if (found := _DO.search(text)) is not None:
        auxiliary, verb = found[1].casefold(), found[2]
        return [text[: found.start()] + form + text[found.end() :] for form in _forms(auxiliary, verb)]
    if (found := _NOT.search(text)) is not None:
        return [text[: found.end(1)] + text[found.end() :]]
    if (found := _NEVER.search(text)) is not None:
        return [text[: found.start()] + text[found.end() :]]
    return []


def negations(topics: Sequence[Topic], others: Sequence[Topic]) -> list[str | None]:
    """[statement of all topics, in order] its negation: that of its own file, else one found among the statements of other files that
    has the other label."""
    found: dict[tuple[str, bool], str] = {}
    for other in others:
        for statement in other.statements:
            for plain in affirmed(statement.text):
                found.setdefault((_key(plain), not statement.true), statement.text)
    return [statement.negation or found.get((_key(statement.text), statement.true)) for topic in topics for statement in topic.statements]


def _forms(auxiliary: str, verb: str) -> list[str]:
    if auxiliary == "do":
        return [verb]
    if auxiliary == "did":
        return [f"{verb}ed", f"{verb}d", f"{verb[:-1]}ied", f"{verb}{verb[-1]}ed"]
    return [_IRREGULAR.get(verb.casefold(), f"{verb}s"), f"{verb}es", f"{verb[:-1]}ies"]


def _key(text: str) -> str:
    return " ".join(without_period(text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().split())
