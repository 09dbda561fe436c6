"""Writes what `explicate icl` found to a file, in the form that its name asks for."""

from collections.abc import Callable
from pathlib import Path

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced
from evals.icl.results import IclResults
from explicate.icl_page import render

FORMS: dict[str, Callable[[IclResults], str]] = {".html": render, ".json": lambda found: found.model_dump_json() + "\n"}


def check_file(path: Path) -> None:
    """Raise ExplicateError where nothing can be written, before a model is loaded."""
    if path.suffix.lower() not in FORMS:
        raise ExplicateError(f"--out {str(path)!r}: name a file that ends with {', '.join(FORMS)}")
    if path.is_dir():
        raise ExplicateError(f"--out {str(path)!r} is a folder; name a file, such as {str(path / ('icl' + next(iter(FORMS))))!r}")
    if not path.absolute().parent.is_dir():
        raise ExplicateError(f"--out {str(path)!r}: there is no folder {str(path.absolute().parent)!r}; make it, or name another file")


def write_file(found: IclResults, path: Path) -> None:
    """Write it whole or not at all; raises ExplicateError where that is not possible."""
    try:
        with replaced(path) as temporary:
            temporary.write_text(FORMS[path.suffix.lower()](found), encoding="utf-8")
    except OSError as error:
        raise ExplicateError(f"--out {str(path)!r} cannot be written ({error.strerror}); name another file") from None
