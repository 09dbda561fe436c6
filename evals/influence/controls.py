"""What a query is held against: a completion that says something else behind the same prompt, and text from elsewhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import CorpusError, SubjectError
from analyzers.whole_text import whole_text
from evals.influence.results import Control

if TYPE_CHECKING:
    from analyzers.influence.passages import Passage
    from analyzers.influence.scoring import Query
    from analyzers.text_model import TextModel

PIECES, PIECE_TOKENS = 4, 16
"""Beginnings of passages that stand for whatever else is said, and their tokens at most."""


def controls_of(model: "TextModel", queries: "Sequence[Query]", text: "Sequence[Passage]", *, seed: int) -> "list[tuple[Query, Control]]":
    """Of each query the same prompt with a completion that says something else, as near in length as may be."""
    found = []
    for number, query in enumerate(queries):
        found.append(_borrowed(model, queries, number) or _scrambled(model, query, text, np.random.default_rng([seed, number])))
    return found


def elsewhere(text: "Sequence[Passage]", *, seed: int) -> "list[tuple[int, Query]]":
    """Beginnings of some passages, with the passages' places: what moves them as much moves whatever is said."""
    from analyzers.influence.scoring import Tokens

    chosen = np.random.default_rng([seed, 9]).permutation(len(text))[:PIECES].tolist()
    return [(place, Tokens("", "", _own(text[place])[:PIECE_TOKENS])) for place in chosen]


def _own(passage: "Passage") -> tuple[int, ...]:
    """Without what stands before every text."""
    return tuple(token for token, span in zip(passage.ids, passage.spans, strict=True) if span is not None)


def _borrowed(model: "TextModel", queries: "Sequence[Query]", number: int) -> "tuple[Query, Control] | None":
    from analyzers.influence.scoring import Query

    query = queries[number]
    size = _said(model, query)
    possible: list[tuple[int, int, Query]] = []
    for place, other in enumerate(queries):
        if other.completion.strip() == query.completion.strip():
            continue
        try:
            taken = Query(query.prompt, other.completion)
            possible.append((abs(len(_said(model, taken)) - len(size)), (place - number) % len(queries), taken))
        except SubjectError:  # behind this prompt it is no continuation, or too long
            continue
    if not possible:
        return None
    _, _, best = min(possible, key=lambda each: each[:2])
    return best, Control(completion=best.completion, how="another query's")


def _scrambled(model: "TextModel", query: "Query", text: "Sequence[Passage]", rng: np.random.Generator) -> "tuple[Query, Control]":
    from analyzers.influence.scoring import Tokens

    said = _said(model, query)
    if len(set(said)) > 1:
        other = said
        while other == said:
            other = tuple(rng.permutation(said).tolist())
        return Tokens(query.prompt, "", other), Control(completion=_text(model, other), how="its tokens shuffled")
    # A single token, or one over and over again, has no other order.
    there = sorted({token for passage in text for token in _own(passage)} - set(said))
    if not there:
        raise CorpusError("the training text has no other token than the completion; give another text")
    drawn: list[int] = rng.choice(there, len(said)).tolist()
    return Tokens(query.prompt, "", tuple(drawn)), Control(completion=_text(model, drawn), how="tokens drawn from the text")


def _said(model: "TextModel", query: "Query") -> tuple[int, ...]:
    ids, first = query.ids(model)
    return ids[first:]


def _text(model: "TextModel", ids: Sequence[int]) -> str:
    return whole_text("".join(model.tokens.text(number) for number in ids))
