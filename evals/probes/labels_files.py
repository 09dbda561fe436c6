"""Labels from files of the user's own: JSON lines with spans, and the tab-separated files of SentEval's probing tasks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzers.corpus import json_objects, text_lines
from analyzers.errors import CorpusError
from analyzers.tokens import Span

SENTEVAL_PARTS: Mapping[str, str] = {"tr": "train", "va": "held_out", "te": "test"}
SENTEVAL_ENDINGS = (".tsv", ".txt")
_FORM = '{"text": "A red door.", "spans": [[2, 5]], "labels": ["colour"]}'


@dataclass(frozen=True)
class Labelled:
    """A text with labels of some of its spans."""

    text: str
    spans: tuple[Span, ...]
    labels: tuple[str, ...]
    """[span]"""
    types: tuple[str, ...]
    """[span] what a look-up knows it by: the word, or of a sentence the word that decides its label; empty where there is none."""
    document: str
    part: str = ""
    """train, held_out or test where the source says so."""
    unlabelled: int = 0
    """Words of it that have no such label, or share their characters with another word."""

    @property
    def is_whole(self) -> bool:
        """Whether the label is one of the whole text."""
        return self.spans == ((0, len(self.text)),)


def read_items(path: Path) -> list[Labelled]:
    """By the file's ending. Raises CorpusError, with the line, for what is not in its form, and for a file without items."""
    readers = {".jsonl": _json_lines, **dict.fromkeys(SENTEVAL_ENDINGS, _senteval)}
    if path.suffix.lower() not in readers:
        raise CorpusError(
            f"--items {str(path)!r}: name a file that ends with .jsonl, or with {', '.join(SENTEVAL_ENDINGS)} for SentEval's own"
        )
    if not path.is_file():
        raise CorpusError(f"there is no file {str(path)!r}; name one that ends with .jsonl, or a SentEval file")
    found = readers[path.suffix.lower()](path)
    if not found:
        raise CorpusError(f"{str(path)!r} holds no items; give lines such as {_FORM}")
    return found


def _json_lines(path: Path) -> list[Labelled]:
    """A line is an object with `text`, `spans` (characters, the end not included) and as many `labels`; `document` where it has one."""
    found = []
    for number, (where, record) in json_objects(path, f"give one object a line, such as {_FORM}"):
        if not isinstance(record.get("text"), str):
            raise CorpusError(f"{where} has no text; give lines such as {_FORM}")
        text, spans, labels = record["text"], record.get("spans"), record.get("labels")
        if not isinstance(spans, list) or not isinstance(labels, list) or len(spans) != len(labels) or not spans:
            raise CorpusError(f"{where} has no spans with as many labels; give lines such as {_FORM}")
        checked = tuple(_span(span, text, where) for span in spans)
        names = tuple(_label(label, where) for label in labels)
        types = tuple("" if span == (0, len(text)) else text[slice(*span)].casefold() for span in checked)
        found.append(Labelled(text, checked, names, types, str(record.get("document", number))))
    return found


def _span(span: Any, text: str, where: str) -> Span:
    whole = isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)
    if not whole or not 0 <= span[0] < span[1] <= len(text):
        raise CorpusError(f"{where}: {json.dumps(span)[:40]} is no span of the text, which has {len(text)} characters; give [start, end]")
    return span[0], span[1]


def _label(label: Any, where: str) -> str:
    if not isinstance(label, str | int) or isinstance(label, bool) or label == "":
        raise CorpusError(f"{where}: {json.dumps(label)[:40]} is no label; give a word or a whole number")
    return str(label)


def _senteval(path: Path) -> list[Labelled]:
    """A line is tr, va or te, a label, and a sentence, with tabs between."""
    found = []
    for number, line in text_lines(path):
        if not line.strip():
            continue
        columns = line.rstrip("\r\n").split("\t")
        where = f"{str(path)!r} line {number}"
        if len(columns) != 3:
            raise CorpusError(
                f"{where} has {len(columns)} columns, separated by tabs, where SentEval's files have 3: part, label, sentence"
            )
        part, label, text = (column.strip() for column in columns)
        if part not in SENTEVAL_PARTS:
            raise CorpusError(f"{where} begins with {part[:20]!r}; the first column is one of {', '.join(SENTEVAL_PARTS)}")
        if not label or not text:
            raise CorpusError(f"{where} has no {'sentence' if label else 'label'}; give part, label and sentence with tabs between")
        found.append(Labelled(text, ((0, len(text)),), (label,), ("",), str(number), SENTEVAL_PARTS[part]))
    for name, part in SENTEVAL_PARTS.items():
        if part != "held_out" and found and not any(item.part == part for item in found):
            raise CorpusError(f"{str(path)!r} has no line that begins with {name}; a SentEval file trains on tr and tests on te")
    return found
