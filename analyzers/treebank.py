"""Sentences with their words, tags and trees, from CoNLL-U files (universaldependencies.org/format)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import conllu
from conllu.exceptions import ParseException

from analyzers.corpus import text_lines
from analyzers.errors import CorpusError
from analyzers.progress import Report, quiet
from analyzers.tokens import Span

COLUMNS = 10


@dataclass(frozen=True)
class Word:
    """A syntactic word."""

    form: str
    lemma: str
    upos: str
    xpos: str
    """Empty where the file has none, as `upos`, `lemma` and `deprel`."""
    head: int
    """1-based number of the word that it depends on; 0 for the root."""
    deprel: str
    span: Span
    """Characters of the sentence's text; words of one multi-word token share all of its."""
    feats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sentence:
    """A sentence as it is written, and its words."""

    id: str
    document: str
    """The document it is from; the file where it names none."""
    text: str
    words: tuple[Word, ...]

    @property
    def heads(self) -> tuple[int, ...]:
        """[word] 1-based number of its head, 0 for the root."""
        return tuple(word.head for word in self.words)


def read_treebank(path: Path, *, report: Report = quiet) -> list[Sentence]:
    """All sentences of a CoNLL-U file in order.

    A multi-word token gives its words, an empty node none. A sentence without a `text` is written anew from its forms. Raises
    CorpusError, with the line, for a file that is not UTF-8 or not CoNLL-U: another number of columns, a head or number that is none,
    words out of order, a head that is not there, no root or several, a circle, a form that is not in the text; and for a file without
    sentences.
    """
    what = f"reading {path.name}"
    blocks = list(_blocks(path))
    found = []
    document = path.name
    for done, (first, lines) in enumerate(blocks):
        report(what, done, len(blocks))
        sentence, document = _sentence(path, first, lines, document)
        if sentence is not None:
            found.append(sentence)
    report(what, len(blocks), len(blocks))
    if not found:
        raise CorpusError(f"{str(path)!r} holds no sentence; give a CoNLL-U file: a line of {COLUMNS} columns for each word")
    return found


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, lines) of every sentence."""
    if not path.is_file():
        raise CorpusError(f"there is no file {str(path)!r}; give a CoNLL-U file (.conllu)")
    first, lines = 0, list[str]()
    for number, line in text_lines(path):
        text = line.rstrip("\r\n")
        if text.strip():
            first = first if lines else number
            lines.append(text)
        elif lines:
            yield first, lines
            lines = []
    if lines:
        yield first, lines


def _sentence(path: Path, first: int, lines: Sequence[str], document: str) -> tuple[Sentence | None, str]:
    """The sentence, None where there are only comments, and the document from here on."""
    numbers = [first + at for at, line in enumerate(lines) if not line.startswith("#")]
    for number in numbers:
        if (columns := lines[number - first].count("\t") + 1) != COLUMNS:
            raise _wrong(path, number, f"{columns} columns, separated by tabs, where CoNLL-U has {COLUMNS}")
    try:
        (parsed,) = _parsed(lines) or [None]
    except (ParseException, ValueError) as error:  # ValueError: a number of thousands of digits
        raise _wrong(path, _guilty(lines, first, numbers), " ".join(str(error).split())[:200]) from None
    if parsed is None:
        return None, document
    metadata = parsed.metadata
    document = metadata.get("newdoc id") or (f"{path.name} line {first}" if "newdoc" in metadata else document)
    for number, token in zip(numbers, parsed, strict=True):
        if token["id"] is None or not token["form"]:
            raise _wrong(path, number, f"a word needs a number and a form; this has {token['id']!r} and {token['form']!r}")
    kept = [(number, token) for number, token in zip(numbers, parsed, strict=True) if not _is_empty_node(token)]
    written = [(number, token) for number, token in kept if isinstance(token["id"], int)]
    for place, (number, token) in enumerate(written, 1):
        if token["id"] != place:
            raise _wrong(path, number, f"word {token['id']} stands where {place} is to come")
        if not isinstance(token["head"], int) or not 0 <= token["head"] <= len(written):
            raise _wrong(path, number, f"the head {token['head']!r} is no word of the sentence, which has {len(written)}, nor 0")
    if not written:
        return None, document
    _check_ranges(kept, len(written), path)
    _check_tree([token["head"] for _, token in written], path, [number for number, _ in written])
    text = metadata.get("text") or _joined(kept)
    words = tuple(_word(token, span) for token, span in _placed(kept, text, path))
    name = metadata.get("sent_id") or f"{path.name} line {first}"
    return Sentence(str(name), str(document), text, words), str(document)


def _parsed(lines: Sequence[str]) -> Any:
    """The columns are those of CoNLL-U, whatever a comment says."""
    plain = [line for line in lines if not line.startswith("# global.columns")]
    return conllu.parse("\n".join(plain) + "\n\n")


def _check_ranges(tokens: Sequence[tuple[int, Any]], words: int, path: Path) -> None:
    """Multi-word tokens stand directly before the first of their words, are of two or more, and apart."""
    word, reached = 0, 0
    for number, token in tokens:
        if isinstance(token["id"], int):
            word = token["id"]
            continue
        first, _, last = token["id"]
        if not (first == word + 1 and reached < first < last <= words):
            raise _wrong(path, number, f"the multi-word token {first}-{last} does not stand before words {first} to {last} of its own")
        reached = last


def _is_empty_node(token: Any) -> bool:
    return isinstance(token["id"], tuple) and token["id"][1] == "."


def _guilty(lines: Sequence[str], first: int, numbers: Sequence[int]) -> int:
    """The line that cannot be read by itself."""
    for number in numbers:
        try:
            _parsed([lines[number - first]])
        except (ParseException, ValueError):
            return number
    return first


def _joined(tokens: Sequence[tuple[int, Any]]) -> str:
    """The text of forms, with a space behind each that does not say otherwise."""
    covered, parts = 0, list[str]()
    for _, token in tokens:
        if isinstance(token["id"], tuple):
            covered = token["id"][2]
        elif token["id"] <= covered:
            continue
        parts += [token["form"], "" if (token["misc"] or {}).get("SpaceAfter") == "No" else " "]
    return "".join(parts).strip()


def _placed(tokens: Sequence[tuple[int, Any]], text: str, path: Path) -> Iterator[tuple[Any, Span]]:
    """Every word with its characters, found in order."""
    reached, covered, whole = 0, 0, (0, 0)
    for number, token in tokens:
        is_range = isinstance(token["id"], tuple)
        if is_range or token["id"] > covered:
            start = text.find(token["form"], reached)
            if start < 0 or text[reached:start].strip():
                raise _wrong(path, number, f"the form {token['form']!r} does not stand next in the sentence's text")
            whole = (start, start + len(token["form"]))
            reached = whole[1]
        if is_range:
            covered = token["id"][2]
        else:
            yield token, whole


def _word(token: Any, span: Span) -> Word:
    def told(column: str) -> str:
        is_none = token[column] is None or (token[column] == "_" and token["form"] != "_")
        return "" if is_none else str(token[column])

    return Word(
        form=token["form"],
        lemma=told("lemma"),
        upos=told("upos"),
        xpos=told("xpos"),
        head=token["head"],
        deprel=told("deprel"),
        span=span,
        feats={str(key): str(value) for key, value in (token["feats"] or {}).items()},
    )


def _check_tree(heads: Sequence[int], path: Path, numbers: Sequence[int]) -> None:
    if (roots := list(heads).count(0)) != 1:
        raise _wrong(path, numbers[0], f"the sentence has {roots} words with the head 0 where a tree has one root")
    for place, number in enumerate(numbers, 1):
        at, steps = place, 0
        while at and steps <= len(heads):
            at, steps = heads[at - 1], steps + 1
        if at:
            raise _wrong(path, number, f"the heads above word {place} run in a circle")


def _wrong(path: Path, number: int, what: str) -> CorpusError:
    return CorpusError(f"{str(path)!r} line {number}: {what}; mend the line, or leave the sentence out")
