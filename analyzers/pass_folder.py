"""The folder of a sampling pass: one process at a time, whole files or none, and only for the configuration that began it."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzers.errors import RunFolderError
from analyzers.progress import Report
from analyzers.whole_files import remove_parts, replaced

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2
RESULT = "activations.json"
CHECKPOINT = "checkpoint.safetensors"


@contextmanager
def alone(folder: Path, report: Report) -> Iterator[None]:
    """Hold the folder, made if need be; another process that wants it waits. A killed process lets go."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report("waiting for another process that is at work in the same folder", 0, 0)
            lock.acquire()
    except OSError as error:
        raise RunFolderError(f"{str(folder)!r} cannot be written: {error.strerror}; choose another folder") from error
    try:
        remove_parts(folder)
        yield
    finally:
        lock.release()


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], note: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file, whole or not at all; `note` is kept in its header."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    metadata = None if note is None else {"note": json.dumps(note, sort_keys=True)}
    with _whole(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        try:
            save_file(dict(tensors), partial, metadata)
        except SafetensorError as error:
            # A full disk comes as text alone.
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, os.strerror(int(number[1])) if number else str(error)) from error
        # It leaves a file that nobody else may read, whatever the umask.
        partial.chmod(mode)


def open_tensors(path: Path) -> Any:
    """A safetensors file of a pass, open for reading by parts; RunFolderError where it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"{str(path)!r} is missing or damaged; remove its folder and run the same command again") from error


def content_key(content: object) -> str:
    """Names a folder by what decides every byte in it: plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def beside(other: Path, folder: Path) -> str:
    """Path of the other folder, relative, so that both can be moved together."""
    return os.path.relpath(other.resolve(), folder.resolve())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with _whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The content; RunFolderError where it is damaged or of another version."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise RunFolderError(f"{str(path)!r} is damaged; remove its folder and run the same command again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RunFolderError(
            f"{str(path)!r} was written by another version of explicate (format {FORMAT} is read); remove its folder, or name another"
        )
    return content


def read_checkpoint(folder: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
    """Tensors and note of the last checkpoint, if there is one."""
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["note"])  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{str(path)!r} is damaged; remove its folder and run the same command again") from error


def check_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """RunFolderError where a folder was begun with another configuration, naming the first difference."""
    for key, value in wanted.items():
        if found.get(key) != value:
            raise RunFolderError(f"{str(folder)!r} holds a pass with {key} {found.get(key)!r}, not {value!r}; choose or remove the folder")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    try:
        with replaced(path) as temporary:
            yield temporary
    except OSError as error:
        raise RunFolderError(
            f"{str(path)!r} cannot be written: {error.strerror}; make room, and the same command goes on at the last checkpoint"
        ) from error
