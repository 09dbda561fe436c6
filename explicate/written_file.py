"""The file that --out names: whether it can be written, and writing it in the form that its name asks for."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced

if TYPE_CHECKING:
    from pydantic import BaseModel

Found = TypeVar("Found")
Results = TypeVar("Results", bound="BaseModel")


def forms(page: Callable[[Results], str], **others: Callable[[Results], str]) -> dict[str, Callable[[Results], str]]:
    """How results are written, by the ending of the file's name: as a page (.html), as JSON, and as `others` say (svg=...)."""
    return {".html": page, **{f".{ending}": form for ending, form in others.items()}, ".json": lambda found: found.model_dump_json() + "\n"}


def check_file(path: Path, usual: str, endings: Collection[str] = ()) -> None:
    """Raise ExplicateError where nothing can be written, before a model is loaded.

    usual: a name to suggest. endings: those that the name may have, such as .html; any, where there are none.
    """
    if endings and path.suffix.lower() not in endings:
        raise ExplicateError(f"--out {str(path)!r}: name a file that ends with {', '.join(endings)}")
    if path.is_dir():
        raise ExplicateError(f"--out {str(path)!r} is a folder; name a file, such as {str(path / usual)!r}")
    if not path.absolute().parent.is_dir():
        raise ExplicateError(f"--out {str(path)!r}: there is no folder {str(path.absolute().parent)!r}; make it, or name another file")


def write_file(found: Found, path: Path, forms: Mapping[str, Callable[[Found], str]]) -> None:
    """Write it in the form of the name's ending, as `write_text` does."""
    write_text(forms[path.suffix.lower()](found), path)


def write_text(text: str, path: Path) -> None:
    """Write it whole or not at all; raises ExplicateError where that is not possible."""
    try:
        with replaced(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExplicateError(f"--out {str(path)!r} cannot be written ({error.strerror}); name another file") from None
