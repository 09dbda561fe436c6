"""A run folder: manifest first, everything written atomically, one writer at a time, and resumable by the same command."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from analyzers.errors import RunFolderError
from analyzers.whole_files import PART, remove_parts, replaced

Results = TypeVar("Results", bound=BaseModel)

FORMAT = 1
"""Version of the folder's layout; a folder of another version is refused, never half-read."""
ROWS = 5_000
"""Rows of a parquet file that are in memory at a time."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; refuses NaN and infinity, which are no JSON."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    with replaced(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], schema: Any = None) -> None:
    """Write rows of equal keys as one parquet file, atomically; with a pyarrow schema, which rows alone need not tell, ROWS at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    left = iter(rows)
    if schema is None:
        first = pa.Table.from_pylist([dict(row) for row in left])
        left, schema = iter(()), first.schema
    else:
        first = pa.Table.from_pylist([dict(row) for row in islice(left, ROWS)], schema=schema)
    with replaced(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:
        file.write_table(first)
        while batch := [dict(row) for row in islice(left, ROWS)]:
            file.write_table(pa.Table.from_pylist(batch, schema=schema))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run folder; raises RunFolderError where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(f"{str(path.parent)!r} is no run folder: it has no {path.name}; give the folder that --out named") from None
    except OSError as error:
        raise RunFolderError(f"{str(path)!r} cannot be read: {error.strerror}; give the folder that --out named") from None
    except ValueError as error:
        raise RunFolderError(f"{str(path)!r} is damaged ({error}); run the command again with another --out") from None
    if not isinstance(found, dict):
        raise RunFolderError(f"{str(path)!r} is damaged (it holds no JSON object); run the command again with another --out")
    return found


def read_results(run: Path, kind: type[Results]) -> Results:
    """results.json of a run folder; raises RunFolderError where it is no run folder, its run did not end, or the file is damaged."""
    path = run / "results.json"
    if not path.exists() and (run / "manifest.json").exists():
        raise RunFolderError(f"{str(run)!r} has no results.json: its run did not end; the same command with the same --out goes on")
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise RunFolderError(f"{str(path)!r} is damaged ({wrong}); run the command that made the run again") from None


def read_items(run: Path, kind: type[Results]) -> list[Results]:
    """The lines of items.jsonl of a run folder; raises RunFolderError where they cannot be read."""
    path = run / "items.jsonl"
    try:
        # Not splitlines: a text may hold other line ends than the file's.
        return [kind.model_validate_json(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else " ".join(str(error).split())[:200]
        raise RunFolderError(f"{str(path)!r} cannot be read ({said}); run the command that made the run again") from None


def read_parquet(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """These columns of a parquet file of a run folder, by row; raises RunFolderError where it is missing or damaged."""
    return list(parquet_rows(path, columns))


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The same, ROWS in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            lacking = [name for name in columns if name not in file.schema_arrow.names]
            if lacking:
                raise ValueError(f"it has no column {', '.join(lacking)}")
            for batch in file.iter_batches(ROWS, columns=list(columns)):
                yield from batch.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "there is no such file" if missing else " ".join(str(error).split())
        raise RunFolderError(f"{str(path)!r} cannot be read ({reason}); run the command that made the run again") from None


class RunFolder:
    """The folder of one run, held by one process.

    A context manager: makes the folder, and raises RunFolderError when it belongs to another version, command or configuration, holds
    something else, or is in use.
    """

    def __init__(self, path: Path, command: str, config: Mapping[str, Any]) -> None:
        self.path = path
        self._manifest: dict[str, Any] = {"format": FORMAT, "command": command, "config": dict(config)}
        self._lock = FileLock(path / ".lock")

    def check(self) -> None:
        """Raise RunFolderError for what is known before anything is made or written: another run's folder, or no place for one."""
        manifest = self.path / "manifest.json"
        if manifest.exists():
            self._check_same(read_json(manifest))
        elif self.path.is_dir() and any(not _ours(item.name) for item in self.path.iterdir()):
            raise RunFolderError(f"{str(self.path)!r} holds other files and no manifest.json; choose an empty or new folder for --out")
        above = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists() or folder.is_symlink())
        if not above.is_dir():
            raise RunFolderError(f"{str(above)!r} is no folder, so {str(self.path)!r} cannot be one; choose another --out")
        if not os.access(above, os.W_OK | os.X_OK):
            raise RunFolderError(f"{str(above)!r} may not be written to; choose another --out or change its permissions")

    def __enter__(self) -> "RunFolder":
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(f"{str(self.path)!r} is in use by another process; wait for it or choose another --out") from None
        try:
            # Whoever holds the lock is alone: these are left by a process that was killed while it wrote.
            remove_parts(self.path)
            manifest = self.path / "manifest.json"
            if manifest.exists():
                found = read_json(manifest)
                self._check_same(found)
                self._manifest = found
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

    def record(self, facts: Mapping[str, Any], *, latest: Mapping[str, Any] | None = None) -> None:
        """Add what became known (identities, versions, hashes) to the manifest; on resuming it must be what it was.

        latest: what may differ from command to command and is kept as the last one found it.
        """
        for key, value in facts.items():
            if key in self._manifest and self._manifest[key] != value:
                raise RunFolderError(
                    f"{str(self.path)!r} was begun with {key} {self._manifest[key]!r}, now it is {value!r}; choose another --out"
                )
        self._manifest |= {**facts, **(latest or {})}
        write_json(self.path / "manifest.json", self._manifest)

    def _check_same(self, found: Mapping[str, Any]) -> None:
        where = repr(str(self.path))
        if found.get("format") != FORMAT:
            raise RunFolderError(f"{where} has layout version {found.get('format')!r}, this program writes {FORMAT}; choose another --out")
        if found.get("command") != self._manifest["command"]:
            raise RunFolderError(
                f"{where} is a run of {found.get('command')!r}, not of {self._manifest['command']!r}; choose another --out"
            )
        ours, theirs = json.loads(json.dumps(self._manifest["config"])), found.get("config")
        theirs = theirs if isinstance(theirs, dict) else {}
        if (different := _difference(theirs, ours)) is not None:
            key, before, now = different
            raise RunFolderError(
                f"{where} was begun with {key} {before!r}, now it is {now!r}; give the same options to go on, or choose another --out"
            )


def _difference(before: Any, now: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """Where two JSON values first differ, and what is there in each; None where they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys: Sequence[Any] = sorted(before.keys() | now.keys())
        pairs = [(key, before.get(key), now.get(key)) for key in keys]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now) and any(isinstance(each, dict) for each in now):
        pairs = [(at, *both) for at, both in enumerate(zip(before, now, strict=True))]
    else:
        return None if before == now else (place, before, now)
    found = (_difference(one, other, f"{place}.{key}" if place else str(key)) for key, one, other in pairs)
    return next((each for each in found if each is not None), None)


def _ours(name: str) -> bool:
    """Whether a file in a folder without a manifest can be from a run that was killed before it had written one."""
    return name == ".lock" or (name.startswith(".manifest.json.") and name.endswith(PART))


class Transcript:
    """transcript.jsonl: one line a distinct call, appended as calls end; a line that a kill cut short is dropped on opening.

    Calls that end before it is opened are held back until then.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._seen: set[str] = set()
        self._early: list[Mapping[str, Any]] = []

    def open(self, path: Path) -> None:
        """Go on with the file at `path`, which need not exist."""
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) != len(data):
                with path.open("rb+") as file:
                    file.truncate(len(whole))
            try:
                self._seen.update(json.loads(line)["key"] for line in whole.splitlines())
            except (ValueError, KeyError, TypeError):
                raise RunFolderError(f"{str(path)!r} is damaged; run the command again with another --out") from None
        self._path = path
        for row in self._early:
            self.append(row)
        self._early.clear()

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a call; `row` has at least `key`, and a call that is already there is not written again."""
        if self._path is None:
            self._early.append(row)
        elif row["key"] not in self._seen:
            self._seen.add(row["key"])
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
