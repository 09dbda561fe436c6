"""The items of a task: texts, with the true answer where it is known, from a text file, JSON lines, CSV or a Hugging Face dataset."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

from analyzers.corpus import csv_rows, dataset_parts, dataset_rows, json_objects, text_lines
from analyzers.errors import ExplicateError
from analyzers.whole_text import whole_text

MOST_ITEMS = 100_000
"""A dataset is read to its end, and some have none."""
TEXT_FIELDS = ("text", "sentence", "review", "question")
GOLD_FIELDS = ("gold", "label", "answer")
JSON_SUFFIXES = (".jsonl", ".jsonl.gz")
CSV_SUFFIXES = (".csv", ".tsv")
SOURCES = (
    "a .txt file (an item a line), a .jsonl, .jsonl.gz, .csv or .tsv file, or hf:<dataset>[:config][:split] for a Hugging Face dataset"
)

Span = tuple[int, int]
"""Start and end of a stretch of a text, in characters."""
_Row = tuple[str, Mapping[str, Any]]
"""Where it stands, and its fields."""


@dataclass(frozen=True)
class Item:
    """A text that a model is asked about."""

    number: int
    """From 0, in the order of the source, without duplicates."""
    text: str
    gold: str | None
    """The true answer, one of the labels where the task has any; None where it is not known."""
    spans: tuple[Span, ...] = ()
    """The units that the source gives, in order and apart; empty where it gives none."""


@dataclass(frozen=True)
class Items(Sequence[Item]):
    """All items of a source, each text once."""

    items: tuple[Item, ...]
    duplicates: int
    """Items left out because an earlier one has the same text."""
    contradicted: int
    """Texts that the source gives different true answers, which therefore have none here."""
    source: str
    digest: str
    """SHA-256 of texts, true answers and spans."""

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, at: int | slice) -> Item | tuple[Item, ...]:
        return self.items[at]


@dataclass(frozen=True)
class Reading:
    """How the fields of a source are read."""

    text: str | None = None
    """Field with the text; None for the only one of TEXT_FIELDS that there is."""
    gold: str | None = None
    """Field with the true answer; None for the only one of GOLD_FIELDS, if there is any."""
    labels: tuple[str, ...] = ()
    """What a true answer can be; empty where it can be anything."""
    gold_names: Mapping[str, str] = field(default_factory=dict)
    """What values of the field are called among the labels."""
    gold_needed: bool = False
    """Whether a source without a field for the true answer is refused."""


def read_items(source: str, reading: Reading, *, folder: Path = Path()) -> Items:
    """Read all items of a source; a file's path is relative to the folder.

    A text that stands there several times is one item. Raises ExplicateError that names the file and the line: no such file, nothing in
    it, an item without text, a true answer that is no label, fields that are missing or could be several, spans that are not in the text.
    """
    rows: list[_Row] = []
    for each in rows_of(source, folder):
        rows.append(each)
        if len(rows) > MOST_ITEMS:
            raise ExplicateError(f"{source!r} has more than {MOST_ITEMS:,} items; give a smaller file or another split")
    if not rows:
        raise ExplicateError(f"{source!r} is empty: there is no item in it; give one of: {SOURCES}")
    fields: dict[str, str] = {}
    for _, row in rows:
        for name, value in row.items():
            fields.setdefault(name, type(value).__name__)
    text_field = _field(source, "text", reading.text, TEXT_FIELDS, fields)
    gold_field = _field(source, "gold", reading.gold, GOLD_FIELDS, fields)
    if text_field is None:
        raise _no_field(source, "text", "text", TEXT_FIELDS, fields)
    if gold_field is None and reading.gold_needed:
        raise _no_field(source, "true answer", "gold", GOLD_FIELDS, fields)
    texts: dict[str, tuple[Span, ...]] = {}
    golds: dict[str, dict[str, None]] = {}
    for where, row in rows:
        text = row.get(text_field)
        if not isinstance(text, str) or not text.strip():
            has = f"has {str(text)[:60]!r}" if text_field in row else "has nothing"
            raise ExplicateError(f"{where} {has} in the field {text_field!r}; give every item a text, or take the item out")
        text = whole_text(text)
        gold = _gold(where, gold_field, row.get(gold_field), reading) if gold_field is not None else None
        spans = _spans(where, row["spans"], text) if source.endswith(JSON_SUFFIXES) and row.get("spans") is not None else ()
        texts.setdefault(text, spans)
        golds.setdefault(text, {}).update({} if gold is None else {gold: None})
    items = tuple(Item(number, text, _only(golds[text]), spans) for number, (text, spans) in enumerate(texts.items()))
    content = json.dumps([[item.text, item.gold, item.spans] for item in items], ensure_ascii=False)
    return Items(
        items,
        duplicates=len(rows) - len(items),
        contradicted=sum(len(found) > 1 for found in golds.values()),
        source=source,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )


def _only(golds: Mapping[str, None]) -> str | None:
    return next(iter(golds)) if len(golds) == 1 else None


def _listed(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name!r} ({kind})" for name, kind in fields.items()) or "none"


def _field(source: str, what: str, given: str | None, usual: Sequence[str], fields: Mapping[str, str]) -> str | None:
    """The field that was named, or the one with a usual name."""
    if given is not None:
        if given not in fields:
            raise ExplicateError(f"{source!r} has no field {given!r}, which the task names by {what} = {given!r}; it has {_listed(fields)}")
        return given
    found = [name for name in fields if name.casefold() in usual]
    if len(found) > 1:
        raise ExplicateError(
            f"{source!r} has several fields that could be the {what}, {' and '.join(map(repr, found))}, among {_listed(fields)}; "
            f'name one in the task: {what} = "{found[0]}"'
        )
    return found[0] if found else None


def _no_field(source: str, what: str, key: str, usual: Sequence[str], fields: Mapping[str, str]) -> ExplicateError:
    return ExplicateError(
        f"{source!r} has no field for the {what}: it has {_listed(fields)}; call it one of {', '.join(usual)}, or name it in the task, a "
        f'TOML file of your own: {key} = "..."' + ("; the first line must name the columns" if source.endswith(CSV_SUFFIXES) else "")
    )


def _gold(where: str, name: str, value: Any, reading: Reading) -> str | None:
    """The true answer of a row; None where the field is missing, null or empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ExplicateError(f"{where} has {str(value)[:60]!r} in the field {name!r}; give one text or number as the true answer, or null")
    said = whole_text(str(value)).strip()
    said = reading.gold_names.get(said, said)
    if not reading.labels:
        return said or None
    label = next((label for label in reading.labels if label.casefold() == said.casefold()), None)
    if label is None:
        raise ExplicateError(
            f"{where} has {value!r} in the field {name!r}, which is none of the labels {', '.join(reading.labels)}; mend the item, "
            f'or say in the task which label is meant: gold_names = {{{json.dumps(said, ensure_ascii=False)} = "{reading.labels[0]}"}}'
        )
    return label


def _spans(where: str, found: Any, text: str) -> tuple[Span, ...]:
    """The stretches of the text that a row gives, by start and end or by what stands there first, in order."""
    form = f"{where}: spans must be a list of [start, end] with 0 <= start < end <= {len(text)}, or of strings from the text"
    if not isinstance(found, list) or not found:
        raise ExplicateError(f"{form}, not {str(found)[:60]}; leave it out where the task shall find the units")
    spans = []
    for each in found:
        match each:
            case str() if each.strip() and (at := text.find(whole_text(each))) >= 0:
                spans.append((at, at + len(each)))
            case [int(start), int(end)] if not isinstance(start, bool) and not isinstance(end, bool) and 0 <= start < end <= len(text):
                if not text[start:end].strip():
                    raise ExplicateError(f"{form}; {each!r} is nothing but space")
                spans.append((start, end))
            case _:
                raise ExplicateError(f"{form}; {each!r} is not in the text")
    spans.sort()
    for (_, end), (start, other) in pairwise(spans):
        if start < end:
            raise ExplicateError(
                f"{where}: the spans overlap at {text[start : min(end, other)]!r}; give spans apart, of a string that stands there twice "
                "by [start, end]"
            )
    return tuple(spans)


def rows_of(source: str, folder: Path = Path()) -> Iterator[_Row]:
    """Where each row of a source stands, and its fields, as `read_items` reads them and with its errors."""
    if source.startswith("hf:"):
        if dataset_parts(source)[3]:
            raise ExplicateError(f'{source!r} names a column; write hf:<dataset>[:config][:split] and text = "..." in the task')
        return ((f"{source!r} row {number}", row) for number, row in enumerate(dataset_rows(source)))
    path = folder / source
    if not path.is_file():
        raise ExplicateError(f"there is no file {str(path)!r}; items are one of: {SOURCES}")
    if source.endswith(JSON_SUFFIXES):
        return (row for _, row in json_objects(path))
    if source.endswith(CSV_SUFFIXES):
        return csv_rows(path)
    if source.endswith(".txt"):
        return _text_rows(path)
    raise ExplicateError(f"{str(path)!r} is no kind of file that items are read from; give one of: {SOURCES}")


def _text_rows(path: Path) -> Iterator[_Row]:
    blank: list[_Row] = []
    for number, line in text_lines(path):
        blank.append((f"{str(path)!r} line {number}", {"text": line.rstrip("\r\n")}))
        # Blank lines at the end of a file are no items, and others are items without text.
        if line.strip():
            yield from blank
            blank.clear()
