"""Where an export is written."""

from pathlib import Path

from analyzers.errors import ExplicateError


def target_file(run: Path, out: str | None, suffix: str) -> Path:
    """The file to write: `out`, or one named after the run in the folder `out` or in the current one. Makes the folder above it.

    Raises ExplicateError where that would overwrite a file of the run.
    """
    path = Path(f"{run.absolute().name}{suffix}") if out is None else Path(out)
    if path.is_dir():
        path /= f"{run.absolute().name}{suffix}"
    if path.exists() and path.resolve().is_relative_to(run.resolve()):
        raise ExplicateError(f"{str(path)!r} is a file of the run itself; choose another --out")
    make_folder(path.parent)
    return path


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises ExplicateError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExplicateError(f"{str(path)!r} cannot be made a folder: {error.strerror}; choose another --out") from None
