"""Bringing a database to the newest version: in one transaction, by one process at a time, an SQLite file copied first."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, func, insert, inspect, select, text

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced
from evals.database.migrations import newest, steps
from evals.database.times import UtcTime, now

_LOCK = 5_246_377_081_640_031
"""Of PostgreSQL's advisory locks: any number that nobody else takes."""

applied = Table(
    "explicate_migration", MetaData(), Column("number", Integer, primary_key=True), Column("applied_at", UtcTime, nullable=False)
)
"""One row a step that was run."""


def version_of(connection: Connection) -> int:
    """The number of the last step that was run; 0 for a database without tables of ours."""
    if not inspect(connection).has_table(applied.name):
        return 0
    return int(connection.scalar(select(func.max(applied.c.number))) or 0)


def check_version(version: int, where: str) -> None:
    """Raise ExplicateError for the database of a newer explicate."""
    if version > newest():
        raise ExplicateError(
            f"the results database {where} is of version {version}, this explicate reads versions up to {newest()}: it is left as it is; "
            "install a newer explicate, or name another database in EXPLICATE_DATABASE_URL"
        )


def migrate(engine: Engine, where: str, *, backup: Path | None, upto: int | None = None) -> None:
    """Run the steps that are missing, all or none of them; a process that comes second waits, and finds nothing to do.

    where: the database's name in messages. backup: the SQLite file, which is copied beside itself before its first step. upto: stop at this
    version. Raises ExplicateError for a database of a newer version.
    """
    last = newest() if upto is None else upto
    with engine.connect() as connection:
        version = version_of(connection)
    check_version(version, where)
    if version >= last:
        return
    with engine.connect().execution_options(explicate_write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        version = version_of(connection)
        check_version(version, where)
        if version >= last:
            return
        if version and backup is not None:
            copy_sqlite(backup, backup_path(backup, version))
        if not version:
            applied.create(connection, checkfirst=False)
        for number in range(version + 1, last + 1):
            steps()[number](connection)
            connection.execute(insert(applied).values(number=number, applied_at=now()))


def backup_path(path: Path, version: int) -> Path:
    """Where the copy of an SQLite file of that version goes: results.sqlite -> results.version-1.sqlite."""
    return path.with_name(f"{path.stem}.version-{version}{path.suffix}")


def copy_sqlite(path: Path, copy: Path) -> None:
    """A copy of an SQLite file, what its write-ahead log holds included, put in place whole."""
    with (
        replaced(copy) as temporary,
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(temporary)) as target,
    ):
        source.backup(target)
