"""Data of other tools, read into runs that can be scored by the rules of this one. Each format is a file here that adds itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzers.folder import Folder
from evals.exchange.options import Options
from evals.exchange.record import Feature, Record, Told

__all__ = ["FORMATS", "Feature", "Format", "Options", "Record", "Told"]


def _as_it_is(feature: Feature) -> None:
    del feature


@dataclass(frozen=True)
class Format:
    """How the files of one tool are known and read."""

    claims: Callable[[Path, Any], bool]
    """Whether a file is of this format; takes its path and the first JSON value in it, None where it is no JSON."""
    read: Callable[[Path, Options], Iterator[Feature]]
    """The sites in a file or folder; what several files say of one site comes as several. Raises ExplicateError (mostly MalformedError)."""
    finish: Callable[[Feature], None] = _as_it_is
    """What is only known once all of a site has been read."""


FORMATS: Folder[Format] = Folder("evals.exchange", "format")
