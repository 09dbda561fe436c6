"""The reply cache: one SQLite file, every reply under the hash of who was asked what, committed before it is used."""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from agents.llm import Reply, Request
from agents.transaction import transaction
from analyzers.errors import ExplicateError

VERSION = 1
WAIT_FOR_OTHERS = 60.0
"""Seconds to wait for another process that is writing."""

_log = logging.getLogger(__name__)
_reply: TypeAdapter[Reply] = TypeAdapter(Reply)


def request_key(identity: Mapping[str, str], request: Request) -> str:
    """SHA-256 of identity and request as JSON: equal exactly where two replies are interchangeable.

    The identity's keys are sorted; within the request the order is kept, because the order of a schema's properties changes what a
    model writes.
    """
    text = json.dumps([sorted(identity.items()), request.model_dump()], separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _pack(reply: Reply) -> str:
    # json rather than pydantic's own writer: it keeps -Infinity, which a log-probability may be, and lone surrogates.
    return json.dumps(reply.model_dump(), separators=(",", ":"))


def _sum(key: str, text: str) -> str:
    return hashlib.sha256(f"{key}\n{text}".encode("ascii", "replace")).hexdigest()


def _unpack(key: str, row: tuple[Any, Any]) -> Reply | None:
    text, checksum = row
    if not isinstance(text, str) or checksum != _sum(key, text):
        return None
    try:
        return _reply.validate_python(json.loads(text))
    except (ValidationError, ValueError):
        return None


class ReplyCache:
    """Replies in one file, shared by any number of processes (write-ahead log, one transaction for all replies of one call)."""

    def __init__(self, path: Path) -> None:
        """Open or create; raises ExplicateError where the file cannot be used as a reply cache."""
        self.path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=WAIT_FOR_OTHERS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._file.close()
                raise

    def _prepare(self) -> None:
        version = self._file.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise ExplicateError(
                f"the reply cache {str(self.path)!r} is of version {version}, this explicate reads version {VERSION}: "
                "move it away, or name another file in EXPLICATE_REPLIES"
            )
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, checksum TEXT NOT NULL)")
        self._file.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ExplicateError(
                f"the reply cache {str(self.path)!r} cannot be used: {error}; "
                "make room or move the file away, or name another one in EXPLICATE_REPLIES"
            ) from error

    def get(self, key: str) -> Reply | None:
        """The reply under that key; None where there is none, or where the row was damaged (said in a warning, and dropped)."""
        with self._told():
            row = self._file.execute("SELECT reply, checksum FROM replies WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            reply = _unpack(key, row)
            if reply is None:
                _log.warning("a damaged reply in %s (key %s) is dropped and asked for again", self.path, key)
                self._file.execute("DELETE FROM replies WHERE key = ?", (key,))
            return reply

    def put(self, key: str, reply: Reply) -> Reply:
        """`put_all` of one reply."""
        return self.put_all([(key, reply)])[0]

    def put_all(self, replies: Sequence[tuple[str, Reply]]) -> list[Reply]:
        """Keep replies under their keys, all or none of them, committed on return; returns those that are kept, each the first where
        another process was quicker."""
        rows = [(key, text, _sum(key, text)) for key, text in ((key, _pack(reply)) for key, reply in replies)]
        insert = "INSERT INTO replies VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
        with self._told(), transaction(self._file):
            written = [self._file.execute(insert, row).rowcount for row in rows]
        found = [None if new else self.get(key) for new, (key, _) in zip(written, replies, strict=True)]
        return [reply if kept is None else kept for kept, (_, reply) in zip(found, replies, strict=True)]

    def __len__(self) -> int:
        with self._told():
            return int(self._file.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
