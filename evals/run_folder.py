"""A run folder: manifest first, everything written atomically, one writer at a time, and resumable by the same command."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analyzers.errors import RunFolderError

FORMAT = 1
"""Version of the folder's layout; a folder of another version is refused, never half-read."""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place, whole or not at all, when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; refuses NaN and infinity, which are no JSON."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    with replaced(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], schema: Any = None) -> None:
    """Write rows of equal keys as one parquet file, atomically; a pyarrow schema where the rows alone do not tell the types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replaced(path) as temporary:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), temporary, compression="zstd")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder; raises RunFolderError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(f"{str(path.parent)!r} is no run folder: it has no {path.name}; give the folder that --out named") from None
    except ValueError as error:
        raise RunFolderError(f"{str(path)!r} is damaged ({error}); run the command again with another --out") from None


class RunFolder:
    """The folder of one run, held by one process.

    A context manager: raises RunFolderError when the folder belongs to another version, command or configuration, holds something
    else, or is in use.
    """

    def __init__(self, path: Path, command: str, config: Mapping[str, Any]) -> None:
        self.path = path
        self._manifest: dict[str, Any] = {"format": FORMAT, "command": command, "config": dict(config)}
        self._lock = FileLock(path / ".lock")

    def __enter__(self) -> "RunFolder":
        manifest = self.path / "manifest.json"
        if not manifest.exists() and self.path.is_dir() and any(item.name != ".lock" for item in self.path.iterdir()):
            raise RunFolderError(f"{str(self.path)!r} holds other files and no manifest.json; choose an empty or new folder for --out")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(f"{str(self.path)!r} is in use by another process; wait for it or choose another --out") from None
        try:
            if manifest.exists():
                self._continue(read_json(manifest))
            else:
                write_json(manifest, self._manifest)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self._manifest

    def record(self, facts: Mapping[str, Any]) -> None:
        """Add what became known (identities, versions, hashes) to the manifest; on resuming it must be what it was."""
        for key, value in facts.items():
            if key in self._manifest and self._manifest[key] != value:
                raise RunFolderError(
                    f"{str(self.path)!r} was begun with {key} {self._manifest[key]!r}, now it is {value!r}; choose another --out"
                )
        self._manifest.update(facts)
        write_json(self.path / "manifest.json", self._manifest)

    def _continue(self, found: Mapping[str, Any]) -> None:
        where = repr(str(self.path))
        if found.get("format") != FORMAT:
            raise RunFolderError(f"{where} has layout version {found.get('format')!r}, this program writes {FORMAT}; choose another --out")
        if found.get("command") != self._manifest["command"]:
            raise RunFolderError(
                f"{where} is a run of {found.get('command')!r}, not of {self._manifest['command']!r}; choose another --out"
            )
        ours, theirs = json.loads(json.dumps(self._manifest["config"])), found.get("config", {})
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                raise RunFolderError(
                    f"{where} was begun with {key} {theirs.get(key)!r}, now it is {ours.get(key)!r}; "
                    "give the same options to go on, or choose another --out"
                )
        self._manifest = dict(found)


class Transcript:
    """transcript.jsonl: one line a distinct call, appended as calls end; a line that a kill cut short is dropped on opening."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[str] = set()
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) != len(data):
                with path.open("rb+") as file:
                    file.truncate(len(whole))
            for line in whole.splitlines():
                self._keep(json.loads(line))

    def append(self, row: dict[str, Any]) -> None:
        """Add a call; `row` has at least `key`, and a call that is already there is not written again."""
        if row["key"] in self._seen:
            return
        self._keep(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def _keep(self, row: dict[str, Any]) -> None:
        self._seen.add(row["key"])
        self.rows.append(row)
