"""The files that something was read from: which they are, and what tells whether they still hold what they held."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from analyzers.errors import CorpusError


def sources(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name, or by its path where two have the same name."""
    names = [path.name for path in files]
    called = names if len(set(names)) == len(names) else [str(path) for path in files]
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in zip(called, files, strict=True)}


def files_of(path: Path, option: str, endings: Sequence[str], form: str) -> list[Path]:
    """The file itself, or all files below a folder with one of these endings, sorted.

    Raises CorpusError, naming the option and a line as it is to be, where there is none.
    """
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.suffix in endings)
        if not found:
            raise CorpusError(f"{option} {str(path)!r}: the folder holds no {' or '.join(endings)} file; give lines such as {form}")
        return found
    if not path.is_file():
        raise CorpusError(f"{option}: there is no file or folder {str(path)!r}; give a {endings[0]} file with lines such as {form}")
    return [path]
