"""Opening the results database: an SQLite file in write-ahead-log mode, or a PostgreSQL database."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from analyzers.errors import ExplicateError
from analyzers.settings import settings
from evals.database.database import Database
from evals.database.migrate import applied, check_version, migrate
from evals.database.told import REMEDY, reason

_WAIT_FOR_OTHERS = 30.0
"""Seconds to wait for another process that is writing."""


def open_database(url: str | None = None) -> Database:
    """Open the database at a SQLAlchemy URL (by default the settings'), made and brought to the newest version where it is not.

    Raises ExplicateError where it cannot be used, or is of a newer version, which leaves it untouched; never tells a password.
    """
    parsed = parse(settings().database_url if url is None else url)
    engine, backup = connect(parsed)
    where = shown(parsed)
    if backup is not None:
        _check_untouched(backup)
    try:
        migrate(engine, where, backup=backup)
    except (DBAPIError, sqlite3.Error, OSError) as error:
        engine.dispose()
        raise ExplicateError(f"the results database {where} cannot be used: {reason(error, parsed)}; mend it, or {REMEDY}") from None
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, where)


def shown(url: URL) -> str:
    """The name of a database in messages: a file, or host and database, without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return repr(url.database)
    return repr(f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}")


def connect(url: URL) -> tuple[Engine, Path | None]:
    """An engine as it is, of whatever version the database is; with the file where it is one. Raises ExplicateError."""
    return _sqlite(url) if url.get_backend_name() == "sqlite" else (_postgresql(url), None)


def parse(url: str) -> URL:
    """The URL of a database that can be used, with its driver; raises ExplicateError, without the URL, which may hold a password."""
    forms = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE in EXPLICATE_DATABASE_URL"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ExplicateError(f"the URL of the results database is not understood; {forms}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ExplicateError(f"the results database needs a file, to be there for the next command; {forms}")
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ExplicateError(f"the results database cannot be one of {backend!r}, only sqlite or postgresql; {forms}")


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError:
        raise ExplicateError(
            f"the results database {shown(url)} needs psycopg, which is not installed: pip install 'psycopg[binary]', or {REMEDY}"
        ) from None


def _sqlite(url: URL) -> tuple[Engine, Path]:
    path = Path(str(url.database)).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExplicateError(
            f"the folder {str(path.parent)!r} of the results database cannot be made ({error.strerror}): mend it, or {REMEDY}"
        ) from None
    # SQLite keeps its write-ahead log beside the file.
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
        at = path.parent if not os.access(path.parent, os.W_OK | os.X_OK) else path
        raise ExplicateError(f"the results database {str(path)!r} cannot be written: {str(at)!r} is read-only for you; {REMEDY}")
    engine = create_engine(url.set(database=str(path)), connect_args={"timeout": _WAIT_FOR_OTHERS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine, path


def _check_untouched(path: Path) -> None:
    """Raise ExplicateError for a file that is not ours to write to, before anything is written."""
    if not path.exists() or path.stat().st_size == 0:
        return
    # Where a killed process left a log, only a reader leaves that as it is; where there is none, a reader would leave an empty one.
    mode = "ro" if path.with_name(f"{path.name}-wal").exists() else "rw"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=_WAIT_FOR_OTHERS)) as file:
            names = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if applied.name in names:
                check_version(int(file.execute(f"SELECT max(number) FROM {applied.name}").fetchone()[0] or 0), repr(str(path)))  # noqa: S608 - a constant
    except sqlite3.Error as error:
        raise ExplicateError(f"the results database {str(path)!r} cannot be read: {error}; move it away, or {REMEDY}") from None
    if names and applied.name not in names:
        raise ExplicateError(f"{str(path)!r} is a database of another program (it has {min(names)!r}): {REMEDY}")


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    # Transactions are begun by _begin: the driver's own would leave out reads and the making of tables.
    connection.isolation_level = None
    deadline = time.monotonic() + _WAIT_FOR_OTHERS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # Two processes that open a new file at once: here SQLite does not wait by itself.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes fails at once where another one wrote in between, so writers lock at the beginning.
    writes = connection.get_execution_options().get("explicate_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
