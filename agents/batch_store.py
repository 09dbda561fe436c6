"""Which requests lie in which batch: rows beside the reply cache, so that a run that was stopped finds what it has already paid for."""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.cache import WAIT_FOR_OTHERS
from agents.transaction import transaction
from analyzers.errors import ExplicateError

KEPT_DAYS = 30
"""After which the endpoint has thrown away the replies of a batch, too."""


@dataclass(frozen=True)
class Noted:
    """A batch as it was noted down."""

    mark: str
    """Ours, also in the batch's metadata, by which it is found when its id was never learned."""
    batch: str | None
    """The endpoint's id; None where the process ended while it was being submitted."""
    at: float
    """When it was submitted, in seconds since 1970."""
    lines: Mapping[str, int]
    """Keys of the requests that are still looked for in it, each with its line, from 0."""


class BatchStore:
    """Batches and the keys of their requests, in two tables of one SQLite file, shared by any number of processes."""

    def __init__(self, path: Path | None) -> None:
        """path: the reply cache's file; None: remember for as long as this process lives. Raises ExplicateError where it cannot be
        used."""
        self._path = path
        with self._told():
            self._file = sqlite3.connect(":memory:" if path is None else path, timeout=WAIT_FOR_OTHERS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._file.close()
                raise

    def _prepare(self) -> None:
        self._file.execute("CREATE TABLE IF NOT EXISTS batches (mark TEXT PRIMARY KEY, batch TEXT, at REAL NOT NULL)")
        self._file.execute("CREATE TABLE IF NOT EXISTS batched (key TEXT PRIMARY KEY, mark TEXT NOT NULL, line INTEGER NOT NULL)")
        self._file.execute("CREATE INDEX IF NOT EXISTS batched_mark ON batched (mark)")
        with transaction(self._file):
            old = time.time() - KEPT_DAYS * 86_400
            self._file.execute("DELETE FROM batched WHERE mark IN (SELECT mark FROM batches WHERE at < ?)", (old,))
            self._file.execute("DELETE FROM batches WHERE at < ?", (old,))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ExplicateError(
                f"{str(self._path)!r} cannot hold what batches are under way: {error}; "
                "make room or move the file away, or name another one in EXPLICATE_REPLIES"
            ) from error

    def find(self, key: str) -> str | None:
        """The mark of the batch in which a request lies; None where it lies in none."""
        with self._told():
            found = self._file.execute("SELECT mark FROM batched WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def get(self, mark: str) -> Noted:
        """A batch that was noted."""
        with self._told():
            batch, at = self._file.execute("SELECT batch, at FROM batches WHERE mark = ?", (mark,)).fetchone()
            lines = dict(self._file.execute("SELECT key, line FROM batched WHERE mark = ? ORDER BY line", (mark,)).fetchall())
        return Noted(mark, batch, at, lines)

    def intend(self, mark: str, at: float, keys: Sequence[str]) -> None:
        """Note that requests are about to be submitted as one batch, in the order of its lines; committed on return."""
        with self._told(), transaction(self._file):
            self._file.execute("INSERT INTO batches VALUES (?, NULL, ?)", (mark, at))
            self._file.executemany("INSERT OR REPLACE INTO batched VALUES (?, ?, ?)", [(key, mark, line) for line, key in enumerate(keys)])

    def confirm(self, mark: str, batch: str) -> None:
        """Note the id that the endpoint gave."""
        with self._told():
            self._file.execute("UPDATE batches SET batch = ? WHERE mark = ?", (batch, mark))

    def forget(self, mark: str, keys: Sequence[str]) -> None:
        """Requests that a batch did not answer: they are sent anew when they are asked again."""
        with self._told(), transaction(self._file):
            self._file.executemany("DELETE FROM batched WHERE mark = ? AND key = ?", [(mark, key) for key in keys])

    def drop(self, mark: str) -> None:
        """A batch that answered nothing, or is not there."""
        with self._told(), transaction(self._file):
            self._file.execute("DELETE FROM batched WHERE mark = ?", (mark,))
            self._file.execute("DELETE FROM batches WHERE mark = ?", (mark,))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
