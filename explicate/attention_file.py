"""Writes where a model attends to a file, in the form that its name asks for."""

from collections.abc import Callable
from pathlib import Path

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced
from evals.attention import Attention
from explicate.attention_drawing import draw_overview
from explicate.attention_page import render

FORMS: dict[str, Callable[[Attention], str]] = {
    ".html": render,
    ".svg": draw_overview,
    ".json": lambda found: found.model_dump_json() + "\n",
}


def check_file(path: Path, *, norms: bool = False, target: bool = False) -> None:
    """Raise ExplicateError where nothing, or not what is asked for, can be written, before a model is loaded."""
    if path.suffix.lower() not in FORMS:
        raise ExplicateError(f"--out {str(path)!r}: name a file that ends with {', '.join(FORMS)}")
    for name, asked in {"--norms": norms, "--target": target}.items():
        if asked and path.suffix.lower() == ".svg":
            raise ExplicateError(f"{name} is not drawn as .svg; name a file that ends with .html or .json, or leave {name} out")
    if path.is_dir():
        raise ExplicateError(f"--out {str(path)!r} is a folder; name a file, such as {str(path / 'attention.html')!r}")
    if not path.absolute().parent.is_dir():
        raise ExplicateError(f"--out {str(path)!r}: there is no folder {str(path.absolute().parent)!r}; make it, or name another file")


def write_file(found: Attention, path: Path) -> None:
    """Write it whole or not at all; raises ExplicateError where that is not possible."""
    try:
        with replaced(path) as temporary:
            temporary.write_text(FORMS[path.suffix.lower()](found), encoding="utf-8")
    except OSError as error:
        raise ExplicateError(f"--out {str(path)!r} cannot be written ({error.strerror}); name another file") from None
