"""JSON of strangers: every value with the place it stands at, so that what is not as expected is told with file, line and path.

Nothing is believed: lines and files have a longest length, numbers are finite and of a size that float32 holds, and halves of characters
are replaced.
"""

import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from analyzers.errors import ExplicateError
from evals.exchange.record import SHOWN_KEY, Floats

LONGEST_LINE = 1 << 26
"""Bytes, unpacked."""
LARGEST_FILE = 1 << 28
"""Bytes of a file that must be read as a whole, unpacked: parsed, it takes about eight times as much memory, 2 GB."""
HEAD = 1 << 22
"""Bytes, unpacked, that are looked at to find out what a file is."""
LARGEST_NUMBER = 1e30
LONGEST_NAME = 300
"""Characters of names of sites, models and authors."""
LONGEST_TEXT = 100_000
"""Characters of an explanation."""

_SHOWN = 60
_BLOCK = 1 << 20
_MARK = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},]', re.DOTALL)
"""A string of JSON, a character that its structure is made of, or the quotation mark of a string that is cut short."""
_CLOSING = {b"[": b"]", b"{": b"}"}
_GZIP = b"\x1f\x8b"


class MalformedError(ExplicateError):
    """A file of another tool that is not as its format says: the message has file, line or path, and what was expected."""


def malformed(path: Path, where: str, expected: str, found: str) -> MalformedError:
    """The error for a place in a file."""
    place = f"{str(path)!r}{' ' + where if where else ''}"
    return MalformedError(f"{place}: expected {expected}, found {found}; get the file again, or name its format with --format")


@dataclass(frozen=True)
class Node:
    """A JSON value and where it stands."""

    value: Any
    file: Path
    line: int | None = None
    """In a file with one value a line."""
    path: str = "$"

    def fail(self, expected: str) -> MalformedError:
        """What to raise where the value is not what was expected."""
        where = f"line {self.line}, at {self.path}" if self.line is not None else f"at {self.path}"
        return malformed(self.file, where, expected, _described(self.value))

    def has(self, *keys: str) -> bool:
        """Whether it is an object with all of these keys."""
        return isinstance(self.value, dict) and all(key in self.value for key in keys)

    def get(self, key: str) -> "Node":
        """What an object has under the key; raises MalformedError where there is none."""
        if not isinstance(self.value, dict):
            raise self.fail(f"an object with {key!r}")
        if key not in self.value:
            raise self.fail(f"{key!r} among its keys")
        return self._below(self.value[key], f".{key}")

    def maybe(self, *keys: str) -> "Node | None":
        """What an object has under the first of these keys that it has; None where it has none, or null."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        found = next((key for key in keys if self.value.get(key) is not None), None)
        return None if found is None else self._below(self.value[found], f".{found}")

    def items(self, expected: str = "a list") -> Iterator["Node"]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            raise self.fail(expected)
        return (self._below(value, f"[{number}]") for number, value in enumerate(self.value))

    def pairs(self) -> Iterator[tuple[str, "Node"]]:
        """Keys and values of an object."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        return ((cleaned(key), self._below(value, f".{cleaned(key)[:_SHOWN]}")) for key, value in self.value.items())

    def text(self, *, longest: int = LONGEST_TEXT) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.fail("a text")
        if len(self.value) > longest:
            raise self.fail(f"a text of at most {longest:,} characters")
        return cleaned(self.value)

    def name(self) -> str:
        """A short string that is not blank, or a whole number as one."""
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return str(self.whole())
        text = self.text(longest=LONGEST_NAME)
        if not text.strip():
            raise self.fail("a name")
        return text

    def number(self) -> float:
        """A finite number that float32 holds."""
        if not _is_number(self.value):
            raise self.fail(f"a finite number of size at most {LARGEST_NUMBER:g}")
        return float(self.value)

    def score(self) -> float | None:
        """A number, or None for null and what is not finite: an undefined score."""
        if self.value is None or (isinstance(self.value, float) and not np.isfinite(self.value)):
            return None
        return self.number()

    def whole(self) -> int:
        """A whole number from 0 on, of at most 18 digits; also written as a string."""
        value = self.value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**18:
            raise self.fail("a whole number from 0 on")
        return value

    def texts(self) -> tuple[str, ...]:
        """A list of tokens, at least one, whose texts are kept once however often they occur."""
        if not isinstance(self.value, list) or not self.value:
            raise self.fail("a list of tokens, at least one")
        for number, value in enumerate(self.value):
            if not isinstance(value, str):
                raise self._below(value, f"[{number}]").fail("the text of a token")
        return tuple(sys.intern(cleaned(value)) for value in self.value)

    def shown(self) -> list[tuple[str, ...] | None]:
        """What an object says under SHOWN_KEY, where it has that: texts, or None for null; else nothing."""
        if not self.has(SHOWN_KEY):
            return []
        said = self.get(SHOWN_KEY)
        return [None if said.value is None else () if said.value == [] else said.texts()]

    def numbers(self, length: int | None = None) -> Floats:
        """A list of finite numbers, so many if a length is given."""
        if not isinstance(self.value, list):
            raise self.fail("a list of numbers")
        if length is not None and len(self.value) != length:
            raise self.fail(f"a list of {length} numbers, one a token")
        for number, value in enumerate(self.value):
            if not _is_number(value):
                raise self._below(value, f"[{number}]").fail(f"a finite number of size at most {LARGEST_NUMBER:g}")
        return np.array(self.value, np.float64)

    def some(self, *keys: str) -> dict[str, Any]:
        """Of these keys of an object those that have a text, a number, or a list of such: what is kept to be written again."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        found = {key: _plain(self.value[key]) for key in keys if key in self.value}
        return {key: value for key, value in found.items() if value is not None}

    def _below(self, value: Any, step: str) -> "Node":
        return Node(value, self.file, self.line, self.path + step)


def json_file(path: Path) -> Node:
    """The value of a file that holds one, packed by gzip or not; raises MalformedError where it holds none."""
    with _opened(path) as file:
        data = _read(file, path, LARGEST_FILE)
    return Node(_loads(data, path, None), path)


def json_lines(path: Path) -> Iterator[Node]:
    """The values of a file with one a line, packed by gzip or not, one line in memory at a time."""
    with _opened(path) as file:
        for number in count(1):
            line = _read(file, path, LONGEST_LINE, number)
            if not line:
                return
            if line.strip():
                yield Node(_loads(line.rstrip(b"\r\n"), path, number), path, number)


def values_of(path: Path) -> Iterator[Node]:
    """The values of a file, whether it holds one or one a line: it has lines if its first is a value by itself and not all there is."""
    with _opened(path) as file:
        line = _read(file, path, LARGEST_FILE, 1)
        try:
            first = Node(_loads(line, path, 1), path, 1)
        except MalformedError:
            return iter((json_file(path),))
        return json_lines(path) if _read(file, path, LARGEST_FILE, 2) else iter((first,))


def head(path: Path) -> Any:
    """The first value of a JSON file of either sort, of a long one what stands in its first HEAD bytes; None where it is no JSON."""
    try:
        with _opened(path) as file:
            data = _read(file, path, HEAD, cut=True)
    except ExplicateError:
        return None
    texts = [data.partition(b"\n")[0], data]
    for text in [*texts, _closed(data)] if len(data) == HEAD else texts:
        try:
            return _loads(text, path, None)
        except MalformedError:
            continue
    return None


def _closed(data: bytes) -> bytes:
    """The beginning of a JSON value, cut before what is not whole, with all that is open closed."""
    open_: list[bytes] = []
    whole = 0
    for match in _MARK.finditer(data):
        mark = match[0]
        if mark == b'"':
            break
        if mark in _CLOSING:
            open_.append(_CLOSING[mark])
        elif mark in (b"]", b"}") and (not open_ or open_.pop() != mark):
            return b""
        if len(mark) == 1:
            whole = match.start() if mark == b"," else match.end()
    return data[:whole] + b"".join(reversed(open_))


def files_of(source: Path, *suffixes: str) -> list[Path]:
    """The file, or those below the folder whose names end so, in the order of their names; hidden ones are left out.

    Raises ExplicateError where there is neither.
    """
    if source.is_dir():
        found = (path for path in source.rglob("*") if path.is_file() and path.name.endswith(suffixes))
        return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(source).parts))
    if not source.is_file():
        raise ExplicateError(f"{str(source)!r} is neither a file nor a folder; give one that another tool wrote")
    return [source]


def cleaned(text: str) -> str:
    """Without halves of characters, which no file of text can hold."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd") if not text.isascii() or "\x00" in text else text


def unreadable(path: Path, error: Exception) -> MalformedError:
    """The error for a file that cannot be read or unpacked."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
    return MalformedError(f"{str(path)!r} cannot be read: {said}; get the file again")


def _opened(path: Path) -> IO[bytes]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from None


def _read(file: IO[bytes], path: Path, most: int, line: int | None = None, *, cut: bool = False) -> bytes:
    """The rest of a file, or its next line; `cut`: no more than the most of it, where else more is an error."""
    try:
        data = _rest(file, most + 1) if line is None else file.readline(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None
    if len(data) > most and not cut:
        where = "" if line is None else f"line {line}"
        raise malformed(path, where, f"at most {most:,} bytes", "more")
    return data[:most]


def _rest(file: IO[bytes], most: int) -> bytes:
    """So many bytes at most, in blocks: asked for all of them at once, a file makes room for all."""
    found = bytearray()
    while len(found) < most and (block := file.read(min(_BLOCK, most - len(found)))):
        found += block
    return bytes(found)


def _loads(data: bytes, path: Path, line: int | None) -> Any:
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno if line is None else line}, column {error.colno}"
        raise malformed(path, where, "JSON", f"none: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        where = "" if line is None else f"line {line}"
        said = "values nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:100]
        raise malformed(path, where, "JSON in UTF-8", said) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER


def _plain(value: Any) -> Any:
    """A text, number or truth value, or a list of such, as JSON can hold it again; None for all else."""
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, bool) or _is_number(value):
        return value
    if isinstance(value, list) and all(isinstance(each, str | bool) or _is_number(each) for each in value):
        return [_plain(each) for each in value]
    return None


def _described(value: Any) -> str:
    if isinstance(value, dict):
        keys = ", ".join(cleaned(str(key))[:20] for key in list(value)[:5])
        return f"an object with {keys or 'no keys'}{', ...' if len(value) > 5 else ''}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return cleaned(_short(value))


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a whole number of more than 18 digits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
