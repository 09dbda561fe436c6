"""Files that are written whole or not at all, whenever the process is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"
"""How the name of a file in the making ends; it begins with a dot. A killed process leaves one."""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place, whole or not at all, when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def open_weights(folder: Path) -> None:
    """Give the weights of a model's folder, which safetensors closes to others whatever the umask, the mode of its config.json."""
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / "config.json").stat().st_mode)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left below a folder; nobody else may be writing there."""
    for left in folder.rglob(f".*{PART}"):
        left.unlink()


def _sync_folder(folder: Path) -> None:
    """Have the new name on disk, too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
