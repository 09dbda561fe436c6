"""A task file by its name, of those that come with explicate, or by the path of the user's own."""

import difflib
from pathlib import Path

from analyzers.errors import ExplicateError


def names_in(folder: Path) -> tuple[str, ...]:
    """Names of the TOML files in a folder, without their ending."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def named_file(name_or_path: str, folder: Path, *, what: str) -> Path:
    """The folder's file of that name, else the file at that path. Raises ExplicateError, naming `what` it is, where there is neither."""
    known = names_in(folder)
    path = folder / f"{name_or_path}.toml" if name_or_path in known else Path(name_or_path)
    if path.is_file():
        return path
    near = difflib.get_close_matches(name_or_path, known, n=1)
    raise ExplicateError(
        f"there is no {what} {name_or_path!r}{f'; did you mean {near[0]!r}?' if near else ''}; "
        f"give one of {', '.join(known)}, or the path of a TOML file"
    )
