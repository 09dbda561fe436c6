"""Reads documents from the default sample, text files, JSON lines, folders of them, and Hugging Face datasets."""

import csv
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from analyzers.errors import CorpusError
from analyzers.progress import Report, quiet
from analyzers.whole_text import whole_text

SAMPLE = "wikipedia-sample"
SECTION_WORDS = 300
TEXT_SUFFIXES = (".txt", ".md")
JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".json.gz")
SOURCES = (
    f"{SAMPLE}, a .txt, .md, .jsonl, .jsonl.gz or .json.gz file, a folder of such files, or "
    "hf:<dataset>[:config][:split][:column] for a Hugging Face dataset"
)

_HEADING = re.compile(r"(#{1,6}\s+\S|(={1,6})\s*[^=\s].*\2\s*$)")
_NOT_TEXT = ("id", "title", "url")


@dataclass(frozen=True)
class Document:
    """The unit of splitting: what stands in one document is never in two splits."""

    id: str
    title: str
    text: str
    unit: Literal["document", "section"] = "document"
    """A section is a stretch of a file that is alone and so would be the only document."""


def documents(source: str, *, report: Report = quiet) -> Iterator[Document]:
    """Read the documents of a source one after the other, in a fixed order.

    A text file is one document, but if it is the only file, its sections are the documents: stretches of at least 300 words that end at a
    heading or blank line (of 600, at any line end). JSON lines have the text in the field `text`, or else in the only field that holds a
    string; `id` and `title` are used where present. Raises CorpusError: unknown source, nothing in it, binary or not UTF-8, bad JSON, no
    such field.
    """
    if source.startswith("hf:"):
        found = _dataset(source)
    elif source == SAMPLE:
        from analyzers.assets import corpus_file

        found = _json_lines(corpus_file(SAMPLE, report=report), "")
    else:
        files = _files(source)
        root = Path(source) if Path(source).is_dir() else Path(source).parent
        found = (document for path in files for document in _read(path, root, len(files) == 1))
    some = False
    for document in found:
        if document.text.strip():
            some = True
            yield document
    if not some:
        raise CorpusError(f"corpus {source!r} is empty: there is no text in it; give one of: {SOURCES}")


def source_identity(source: str, *, report: Report = quiet) -> str:
    """What tells whether a source still holds what it held: the SHA-256 of its files and their names; the name of a dataset."""
    if source.startswith("hf:"):
        return source
    if source == SAMPLE:
        from analyzers.assets import corpus_file

        files = [corpus_file(SAMPLE, report=report)]
    else:
        files = _files(source)
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return whole.hexdigest()


def _files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        files = sorted(
            (item for item in path.rglob("*") if item.is_file() and item.name.endswith(TEXT_SUFFIXES + JSON_SUFFIXES)),
            key=lambda item: item.relative_to(path).parts,
        )
        if not files:
            raise CorpusError(f"folder {source!r} holds no file that ends in {', '.join(TEXT_SUFFIXES + JSON_SUFFIXES)}")
        return files
    if not path.exists():
        raise CorpusError(f"there is no corpus {source!r}; give one of: {SOURCES}")
    if not path.name.endswith(TEXT_SUFFIXES + JSON_SUFFIXES):
        raise CorpusError(f"{source!r} is no kind of corpus that can be read; give one of: {SOURCES}")
    return [path]


def _read(path: Path, root: Path, alone: bool) -> Iterator[Document]:
    name = path.relative_to(root).as_posix()
    if path.name.endswith(JSON_SUFFIXES):
        yield from _json_lines(path, "" if alone else f"{name}:")
    elif alone:
        yield from _sections(path)
    else:
        yield Document(name, path.stem, "".join(text for _, text in text_lines(path)))


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text, line end included, of every line, unpacked; a CorpusError names the first byte that is no text."""
    offset = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode()
                except UnicodeDecodeError as error:
                    raise CorpusError(
                        f"{str(path)!r} is binary or not UTF-8: byte {offset + error.start} cannot be read; save it as UTF-8"
                    ) from None
                if (zero := line.find(b"\0")) >= 0:
                    raise CorpusError(f"{str(path)!r} is binary: byte {offset + zero} is zero; give a text file in UTF-8")
                yield number, text.removeprefix("\ufeff") if number == 1 else text
                offset += len(line)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{str(path)!r} cannot be read: {error}; give a whole file that you may read") from None


def json_objects(path: Path, remedy: str = "give one JSON object a line") -> Iterator[tuple[int, tuple[str, dict[str, Any]]]]:
    """Yield the number of every line that is not empty, what it is called in messages, and the object that it holds.

    Raises CorpusError, which ends with the remedy, for a line that holds no object, and as `text_lines` does.
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        where = f"{str(path)!r} line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{where} is not JSON ({error}); {remedy}") from None
        if not isinstance(record, dict):
            raise CorpusError(f"{where} holds no JSON object but {type(record).__name__}; {remedy}")
        yield number, (where, record)


def csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield of every row that is not blank what it is called in messages, and its fields by the columns that the first row names.

    The delimiter of a .tsv file is the tab, of others that of comma, semicolon and tab under which the first row has most columns. A first
    column may be without a name. Raises CorpusError, naming the line, for columns that cannot be told apart, for a row with more or fewer
    of them, for what is not CSV, and as `text_lines` does.
    """
    lines = [line for _, line in text_lines(path)]
    delimiters = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    rows = _csv_fields(path, lines, max(delimiters, key=lambda delimiter: _csv_columns(lines, delimiter)))
    header = [name.strip() for name in next(rows, (1, []))[1]]
    if len(set(header)) < len(header) or "" in header[1:]:
        raise CorpusError(f"{str(path)!r}: its columns are called {', '.join(map(repr, header))}; give each a name of its own in line 1")
    for number, row in rows:
        where = f"{str(path)!r} line {number}"
        if len(row) != len(header):
            raise CorpusError(
                f"{where} has {len(row)} columns and line 1, which names them, {len(header)}; put double quotes around what contains the "
                "delimiter"
            )
        yield where, dict(zip(header, row, strict=True))


def _csv_columns(lines: list[str], delimiter: str) -> int:
    """How many the first row has under a delimiter, 0 where it cannot be read so."""
    try:
        return len(next((row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row), ()))
    except csv.Error:
        return 0


def _csv_fields(path: Path, lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line where each row that is not blank begins, and its fields."""
    reader, before = csv.reader(lines, delimiter=delimiter, strict=True), 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise CorpusError(f"{str(path)!r} line {reader.line_num} is not CSV ({error}); double what quotes a quoted text has") from None
        if row is None:
            return
        number, before = before + 1, reader.line_num
        if row:
            yield number, row


def _sections(path: Path) -> Iterator[Document]:
    lines: list[str] = []
    title = heading = path.stem
    words = n = 0
    blank = False
    for _, line in text_lines(path):
        is_heading = _HEADING.match(line) is not None
        # Never before a blank line: what is left of the file could be nothing else, and that is no document.
        if line.strip() and ((words >= SECTION_WORDS and (is_heading or blank)) or words >= 2 * SECTION_WORDS):
            n += 1
            yield Document(f"{path.name}#{n}", title, "".join(lines), "section")
            lines, words, title = [], 0, heading
        if is_heading:
            heading = line.strip("#= \n\r\t")
            title = title if words else heading
        lines.append(line)
        words += len(line.split())
        blank = not line.strip()
    if lines:
        yield Document(f"{path.name}#{n + 1}", title, "".join(lines), "section")


def _json_lines(path: Path, prefix: str) -> Iterator[Document]:
    for number, (where, record) in json_objects(path):
        yield _document(record, "", where, prefix, number)


def _document(record: Mapping[str, Any], column: str, where: str, prefix: str, number: int) -> Document:
    if not column:
        strings = [key for key, value in record.items() if isinstance(value, str) and key not in _NOT_TEXT]
        column = strings[0] if len(strings) == 1 and "text" not in record else "text"
    text = record.get(column)
    if not isinstance(text, str):
        fields = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in record.items()) or "none"
        raise CorpusError(f"{where} has no text in the field {column!r}; it has the fields: {fields}; name the one with the text 'text'")
    name = record.get("id")
    name = str(name) if isinstance(name, str | int) and name != "" else str(number)
    title = record.get("title")
    return Document(whole_text(f"{prefix}{name}"), whole_text(title) if isinstance(title, str) else whole_text(name), whole_text(text))


def _dataset(source: str) -> Iterator[Document]:
    *_, column = dataset_parts(source)
    for number, record in enumerate(dataset_rows(source)):
        yield _document(record, column, f"{source!r} row {number}", "", number)


def dataset_parts(source: str) -> tuple[str, str, str, str]:
    """Dataset, config, split and column of `hf:<dataset>[:config][:split][:column]`, empty where left out; raises CorpusError."""
    name, config, split, column, *more = (source.removeprefix("hf:") + ":::").split(":")
    if not name or any(more):
        raise CorpusError(f"{source!r} names no dataset; write hf:<dataset>[:config][:split][:column], parts may be empty")
    return name, config, split, column


def dataset_rows(source: str) -> Iterator[Mapping[str, Any]]:
    """The rows of `hf:<dataset>[:config][:split]`, by default of the split train, one after the other; raises CorpusError."""
    name, config, split, _ = dataset_parts(source)
    try:
        import datasets
    except ImportError:
        raise CorpusError(
            f"{source!r} needs the package datasets, from explicate's extra `data`: .venv/bin/pip install -e '.[data]'"
        ) from None
    try:
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
        yield from rows
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CorpusError(f"dataset {source!r} cannot be read: {reason}; check dataset, config and split, and the connection") from None
