"""Label log-probabilities from a chat model that returns the likeliest alternatives to each token it writes.

The alternatives are followed from where the answer begins: one that begins a single label counts for it, and where several labels begin
alike the token that was written is followed to the next place, as it is for a single answer that stands against all others. A label that
is not among the alternatives has probability 0, which is off by less than the least of them.
"""

import math
import re
from collections.abc import Sequence

from agents.beliefs import OTHER, READERS, Belief, Question
from agents.llm import LLM, Chat, ChatReply, Reply, TokenLogprob
from agents.self_explanations.written import whole_word
from analyzers.errors import Failed

ALTERNATIVES = 20
"""Asked for in each place: OpenAI's most."""
UNRESOLVED = 0.02
"""Share of the labels' probability that may be on tokens that begin several of them and were not written: a belief is off by no more."""
FLOOR = 0.5
"""Least probability of all labels together: with less, most of what the model might answer is none of them."""
_DRESS = " \n\t*_\"'`([{<>#:="
"""What stands in a token before the answer."""
_MARKS = r"[*_`\"'\u201c\u201d\u2018\u2019\s]{0,6}"
"""What stands around the words of a lead: Markdown, quotes, space."""


@READERS.add("top-logprobs", needs=frozenset({"chat", "top_logprobs"}), rank=1)
class TopLogprobs:
    """Reads the probabilities of the labels off the first tokens of the reply."""

    name = "logprobs"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def requests(self, question: Question) -> Sequence[Chat]:
        """One short reply."""
        return [Chat(messages=question.opened(self._llm), max_tokens=question.max_tokens, stop=question.stop, top_logprobs=ALTERNATIVES)]

    def read(self, question: Question, replies: Sequence[Reply | Failed]) -> Belief | Failed:
        """The probabilities, normalised over the labels.

        Failed where none of them is there or two cannot be told apart; of several labels also where none of them was written, or they
        are less likely together than FLOOR.
        """
        (reply,) = replies
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChatReply) or reply.logprobs is None:
            return Failed("predict", f"{self._llm.name!r} returned no log-probabilities")
        begun = len(question.opened(self._llm)) > len(question.messages)
        places = answer_places(reply.logprobs, "" if begun else question.lead, question.labels)
        if not places:
            return Failed("predict", f"no answer in the reply: {reply.text[:80]!r}")
        mass = label_mass(places, question.labels)
        if isinstance(mass, Failed):
            return mass
        together = min(1.0, sum(mass.values()))
        if len(question.labels) == 1:
            return Belief.likeliest({question.labels[0]: together, OTHER: 1 - together})
        if not says_label(places, question.labels):
            return Failed("predict", f"what stands where the answer should is none of the labels: {reply.text[:80]!r}")
        if together < FLOOR:
            return Failed(
                "predict", f"the labels {', '.join(question.labels)} have a probability of {together:.2g} together, under {FLOOR}"
            )
        return Belief.likeliest({label: value / sum(mass.values()) for label, value in mass.items()}, together)


def answer_places(tokens: Sequence[TokenLogprob], lead: str, labels: Sequence[str]) -> Sequence[TokenLogprob]:
    """The tokens from where the answer begins: after the lead, where the model writes it, and any space or mark-up behind it."""
    text = "".join(token.token for token in tokens)
    parts = re.findall(r"\w+|[^\w\s]", lead)
    led = re.search(_MARKS.join("[:：]" if part in ":：" else re.escape(part) for part in parts), text, re.IGNORECASE)
    start = _begin(text, labels, led.end() if led else 0)
    end = 0
    for number, token in enumerate(tokens):
        end += len(token.token)
        if end > start:
            return tokens[number:]
    return ()


def says_label(places: Sequence[TokenLogprob], labels: Sequence[str]) -> bool:
    """Whether the answer that begins in the first place is a label, as whole words; one that is cut off counts as what it begins."""
    text = "".join(place.token for place in places).casefold()
    text = text[_begin(text, labels, 0) :]
    return any(
        label.startswith(text) or (text.startswith(label) and whole_word(text, 0, len(label))) for label in map(str.casefold, labels)
    )


def label_mass(places: Sequence[TokenLogprob], labels: Sequence[str]) -> dict[str, float] | Failed:
    """Probability of each label along the tokens that were written.

    A label that longer ones begin with has what does not go on to these. Failed where no label has any probability, where the reply ends
    before labels part that begin alike, and where more than UNRESOLVED is on tokens that begin several labels and were not followed.
    """
    left = {label: label.casefold() for label in labels}
    dress = "".join(sign for sign in _DRESS if not any(rest.startswith(sign) for rest in left.values()))
    mass = dict.fromkeys(labels, 0.0)
    share, unresolved = 1.0, 0.0
    for number, place in enumerate(places):
        dress = dress if number == 0 else ""
        written, chances = place.token.lstrip(dress).casefold(), _chances(place, dress)
        elsewhere, undecided = 1.0, False
        for text, chance in chances.items():
            fits = [label for label, rest in left.items() if text and _goes(text, rest)]
            elsewhere -= chance if fits else 0.0
            alone = len(labels) == 1 and bool(fits) and text == written and text != left[fits[0]] and not _ends(text, left[fits[0]])
            if text == written and (len(fits) > 1 or alone):
                undecided = True
            elif len(fits) == 1:
                mass[fits[0]] += share * chance
            elif fits:
                unresolved += share * chance
        for label, rest in left.items():
            # Written whole before this place, and here something that is no longer label.
            mass[label] += 0.0 if rest else share * max(0.0, elsewhere)
        if not undecided:
            break
        left = {label: "" if _ends(written, rest) else rest[len(written) :] for label, rest in left.items() if _goes(written, rest)}
        share *= chances[written]
    else:
        return Failed("predict", f"the reply broke off before the labels {', '.join(labels)} could be told apart")
    if not any(mass.values()):
        return Failed("predict", "none of the labels is among the likeliest answers")
    if unresolved > UNRESOLVED * (sum(mass.values()) + unresolved):
        return Failed("predict", f"the likeliest answers leave open which of {', '.join(labels)} is meant")
    return mass


def _chances(place: TokenLogprob, dress: str) -> dict[str, float]:
    """The probability of every text in this place, however it is cased and dressed."""
    chances: dict[str, float] = {}
    for token, logprob in dict([*place.top, (place.token, place.logprob)]).items():
        text = token.lstrip(dress).casefold()
        chances[text] = chances.get(text, 0.0) + math.exp(logprob)
    return chances


def _begin(text: str, labels: Sequence[str], start: int) -> int:
    """Where an answer begins from there on: at a letter, a digit or a label."""
    while start < len(text) and not text[start].isalnum() and not _begins(text[start:], labels):
        start += 1
    return start


def _begins(text: str, labels: Sequence[str]) -> bool:
    return any(text.casefold().startswith(label.casefold()) for label in labels)


def _goes(text: str, rest: str) -> bool:
    """Whether a token is how the rest of a label begins, or the whole of it with something behind."""
    return bool(rest) and (rest.startswith(text) or _ends(text, rest))


def _ends(text: str, rest: str) -> bool:
    """Whether a token goes on behind the whole label with something that is no part of a word: `positive.`"""
    return bool(rest) and len(text) > len(rest) and text.startswith(rest) and not text[len(rest)].isalnum()
