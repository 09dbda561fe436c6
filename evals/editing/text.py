"""Text that edits are to leave alone: what keys are read from, and of other documents what perplexity is measured on."""

from typing import TYPE_CHECKING

from analyzers.corpus import Document, documents
from analyzers.errors import CorpusError
from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from analyzers.influence.passages import Passage
    from analyzers.text_model import TextModel

LENGTH = 128
"""Tokens of a passage at most."""
HELD_OUT = 16
"""Documents, of each its first passage."""


def read_text(model: "TextModel", corpus: str, tokens: int, *, report: Report = quiet) -> "tuple[list[Passage], list[Passage]]":
    """(passages of about so many tokens, the first one of each of some documents behind them).

    The second list is short or empty where the corpus has no more documents. Raises CorpusError as `documents` and `passages` do.
    """
    from analyzers.influence.passages import passages

    first: list[Document] = []
    others: list[Document] = []
    there = 0
    for document in documents(corpus, report=report):
        report("read corpus", min(there, tokens), tokens)
        if there < tokens:
            # Of a long document what is enough; where it is cut says nothing.
            ids = model.read(document.text)
            cut = next((span[1] for span in ids.spans[tokens - there :] if span is not None), len(document.text))
            first.append(Document(document.id, document.title, document.text[:cut]))
            there += len(ids)
        elif len(others) < HELD_OUT:
            others.append(document)
        else:
            break
    report("read corpus", tokens, tokens)
    held = []
    for document in others:
        try:
            held.append(passages(model, [document], length=LENGTH)[0])
        except CorpusError:  # too short a text for two passages
            continue
    return passages(model, first, length=LENGTH), held
