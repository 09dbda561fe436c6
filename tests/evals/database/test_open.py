"""Opening: made where there is none, brought to the newest version once, and left alone where it cannot be used."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import MetaData, create_engine, insert, inspect, select
from sqlalchemy.exc import IntegrityError

from analyzers.errors import ExplicateError
from evals.database import open_database, tables
from evals.database.migrate import applied, backup_path, migrate
from evals.database.migrations import newest, steps
from evals.database.open import connect, parse, shown

OPENER = """
import sys
from evals.database import open_database
print("ready", flush=True)
sys.stdin.readline()
with open_database(sys.argv[1]) as database:
    print(database.runs().total, "torch" in sys.modules, flush=True)
"""
RUN = {"id": "one", "folder": "/nowhere/one", "kind": "label", "name": "one", "suite": "", "series": "one", "model": "m", "status": "done"}
RUN |= {"void": False, "finished": datetime(2026, 1, 1, tzinfo=UTC), "provenance": {"code": "c"}, "searched": "one"}
RUN |= {"indexed_at": datetime(2026, 1, 2, tzinfo=UTC)}


@contextmanager
def at_version(url: str, version: int) -> Iterator[None]:
    """Make a database of an older version, with a run in it where there can be one."""
    engine, _ = connect(parse(url))
    migrate(engine, "here", backup=None, upto=version)
    with engine.begin() as connection:
        if version:
            connection.execute(insert(tables.run).values(RUN))
    engine.dispose()
    yield


def versions(url: str) -> list[int]:
    engine, _ = connect(parse(url))
    try:
        with engine.connect() as connection:
            return list(connection.scalars(select(applied.c.number).order_by(applied.c.number)))
    finally:
        engine.dispose()


def schema(path: Path) -> list[tuple[str, str]]:
    """Every table and index of an SQLite file as it was made, but for the list of steps."""
    with closing(sqlite3.connect(path)) as file:
        found = file.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != ? ORDER BY name", (applied.name,))
        return [(name, statement) for name, statement in found]


def test_steps_are_numbered_from_one() -> None:
    assert list(steps()) == list(range(1, newest() + 1))
    assert newest() >= 3


def test_a_new_file_is_made_with_its_folder_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "results.sqlite"
    with open_database(f"sqlite:///{path}") as database, database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    # A new file has nothing that a copy could keep.
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_the_migrations_make_what_tables_says(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path / 'migrated.sqlite'}"):
        pass
    engine = create_engine(f"sqlite:///{tmp_path / 'declared.sqlite'}")
    tables.metadata.create_all(engine)
    engine.dispose()
    assert schema(tmp_path / "migrated.sqlite") == schema(tmp_path / "declared.sqlite")
    assert {"run", "metric", "site", "artefact", "baseline", "alert", "schedule", "server"} <= dict(
        schema(tmp_path / "migrated.sqlite")
    ).keys()


def test_all_tables_are_there_on_either_server(url: str) -> None:
    with open_database(url) as database:
        found = inspect(database.engine)
        for table in tables.metadata.sorted_tables:
            assert [column["name"] for column in found.get_columns(table.name)] == table.columns.keys()
            assert {index["name"] for index in found.get_indexes(table.name)} >= {index.name for index in table.indexes}


@pytest.mark.parametrize("version", range(newest()))
def test_an_older_database_is_brought_up_to_date_and_keeps_its_rows(url: str, version: int) -> None:
    with at_version(url, version), open_database(url) as database:
        assert versions(url) == list(range(1, newest() + 1))
        found = database.run("one")
    if version:
        assert found is not None
        assert (found.folder, found.finished, found.provenance) == (RUN["folder"], RUN["finished"], RUN["provenance"])
    else:
        assert found is None


@pytest.mark.parametrize("version", range(1, newest()))
def test_an_older_sqlite_file_is_copied_first(tmp_path: Path, version: int) -> None:
    path = tmp_path / "results.sqlite"
    with at_version(f"sqlite:///{path}", version):
        before = schema(path)
        open_database(f"sqlite:///{path}").close()
    copy = tmp_path / f"results.version-{version}.sqlite"
    assert backup_path(path, version) == copy
    assert schema(copy) == before != schema(path)
    with closing(sqlite3.connect(copy)) as file:
        assert file.execute("SELECT id FROM run").fetchall() == [("one",)]
        assert file.execute(f"SELECT max(number) FROM {applied.name}").fetchone() == (version,)
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([path.name, copy.name])


def test_what_a_write_ahead_log_holds_is_in_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with at_version(f"sqlite:///{path}", 1), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("UPDATE run SET name = 'late'")
        open_database(f"sqlite:///{path}").close()
        with closing(sqlite3.connect(backup_path(path, 1))) as file:
            assert file.execute("SELECT name FROM run").fetchall() == [("late",)]


def test_a_step_that_fails_leaves_the_database_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise ExplicateError("no room")

    with at_version(url, 1):
        monkeypatch.setitem(steps(), newest(), fails)
        with pytest.raises(ExplicateError, match="no room"):
            open_database(url)
        assert versions(url) == [1]
        engine, _ = connect(parse(url))
        assert not inspect(engine).has_table("baseline")
        engine.dispose()
        monkeypatch.undo()
        open_database(url).close()
        assert versions(url) == list(range(1, newest() + 1))


def test_a_newer_sqlite_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with open_database(f"sqlite:///{path}") as database, database.write() as connection:
        connection.execute(insert(applied).values(number=newest() + 1, applied_at=datetime.now(UTC)))
    before = path.read_bytes()
    with pytest.raises(ExplicateError, match=f"is of version {newest() + 1}, this explicate reads versions up to {newest()}"):
        open_database(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_newer_sqlite_file_that_a_killed_process_left_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    open_database(f"sqlite:///{path}").close()
    row = f"INSERT INTO {applied.name} VALUES ({newest() + 1}, '2026-01-01 00:00:00.000000')"
    command = "import os, sqlite3, sys; file = sqlite3.connect(sys.argv[1], isolation_level=None); file.execute(sys.argv[2]); os._exit(0)"
    subprocess.run([sys.executable, "-c", command, str(path), row], check=True)
    log = path.with_name("results.sqlite-wal")
    before = path.read_bytes(), log.read_bytes()
    assert before[1]
    with pytest.raises(ExplicateError, match=f"is of version {newest() + 1}"):
        open_database(f"sqlite:///{path}")
    assert (path.read_bytes(), log.read_bytes()) == before


def test_a_newer_database_is_refused_on_either_server(url: str) -> None:
    with open_database(url) as database, database.write() as connection:
        connection.execute(insert(applied).values(number=newest() + 1, applied_at=datetime.now(UTC)))
    with pytest.raises(ExplicateError, match="install a newer explicate"):
        open_database(url)
    assert versions(url) == list(range(1, newest() + 2))


@pytest.mark.parametrize("version", [0, 1])
def test_processes_that_open_at_once_migrate_once(url: str, version: int, tmp_path: Path) -> None:
    with at_version(url, version):
        pass
    if version == 0 and (tmp_path / "data").exists():
        (tmp_path / "data" / "results.sqlite").unlink(missing_ok=True)
    command = [sys.executable, "-c", OPENER, url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, f"{min(version, 1)} False\n", "")
    assert versions(url) == list(range(1, newest() + 1))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//me:s3cret@host/db",
        "mysql://me:s3cret@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "s3cret",
        "",
        "postgresql://me:s3cret@127.0.0.1:1/none?connect_timeout=2",
        "postgresql://me@127.0.0.1:1/none?password=s3cret&connect_timeout=2",
        "postgresql://me:s3cret@127.0.0.1:1/none?no_such_option=s3cret",
    ],
)
def test_what_is_no_database_is_told_without_the_password(url: str) -> None:
    with pytest.raises(ExplicateError, match="EXPLICATE_DATABASE_URL") as told:
        open_database(url)
    assert "s3cret" not in str(told.value)


def test_a_database_is_named_without_user_and_password() -> None:
    assert shown(parse("postgresql://me:s3cret@host:5/db?sslmode=require")) == "'postgresql://host:5/db'"


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("no database, but long enough to be taken for one" * 20)
    before = path.read_bytes()
    with pytest.raises(ExplicateError, match="cannot be read: file is not a database"):
        open_database(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE replies (key TEXT)")
    before = path.read_bytes()
    with pytest.raises(ExplicateError, match="a database of another program \\(it has 'replies'\\)"):
        open_database(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExplicateError, match=f"{tmp_path / 'file' / 'data'}.*cannot be made"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'data' / 'results.sqlite'}")


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        tmp_path.chmod(0o500)
    else:
        # The super-user may write anywhere.
        monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(ExplicateError, match=f"{tmp_path}' is read-only for you"):
        open_database(f"sqlite:///{tmp_path / 'results.sqlite'}")
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", f"sqlite:///{tmp_path / 'mine.sqlite'}")
    open_database().close()
    assert (tmp_path / "mine.sqlite").exists()


def test_times_have_a_zone_and_come_back_as_utc(url: str) -> None:
    berlin = datetime(2026, 7, 1, 3, 30, 0, 123456, tzinfo=ZoneInfo("Europe/Berlin"))
    row = {"id": "s", "host": "h", "pid": 1, "started": berlin, "heartbeat": berlin}
    with open_database(url) as database, database.write() as connection:
        connection.execute(insert(tables.server).values(row))
        found = connection.execute(select(tables.server.c.started)).scalar_one()
        assert (found, found.tzinfo) == (datetime(2026, 7, 1, 1, 30, 0, 123456, tzinfo=UTC), UTC)
        # Times are compared as moments, not as texts of different zones.
        later = tables.server.c.started < datetime(2026, 7, 1, 2, 0, tzinfo=UTC)
        assert connection.execute(select(tables.server.c.id).where(later)).scalar_one() == "s"
    with open_database(url) as database, pytest.raises(Exception, match="has no time zone"), database.write() as connection:
        connection.execute(insert(tables.server).values(row | {"id": "t", "started": datetime(2026, 7, 1)}))


def test_readers_do_not_wait_for_a_writer_and_writers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'results.sqlite'}"
    with open_database(url) as database:
        monkeypatch.setattr("evals.database.open._WAIT_FOR_OTHERS", 0.0)
        with open_database(url) as other, database.write() as connection:
            connection.execute(insert(tables.run).values(RUN))
            assert other.runs().total == 0
            # Before anything is asked of it, so that nothing it reads can be out of date when it writes.
            with pytest.raises(ExplicateError, match="cannot be used: database is locked"), other.write():
                pytest.fail("two are writing")
        assert database.runs().total == 1


def test_a_write_that_fails_is_undone(url: str) -> None:
    with open_database(url) as database:
        with pytest.raises(IntegrityError), database.write() as connection:
            connection.execute(insert(tables.run), [RUN, RUN])
        assert database.runs().total == 0


def test_a_database_that_is_damaged_later_is_told(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with open_database(f"sqlite:///{path}") as database:
        database.close()
        path.write_bytes(b"no database " * 1000)
        with pytest.raises(ExplicateError, match=r"results.sqlite' cannot be used: file is not a database"):
            database.runs()


def test_reflected_types_hold_long_texts_and_large_numbers(url: str) -> None:
    with open_database(url) as database, database.write() as connection:
        connection.execute(insert(tables.run).values({**RUN, "tokens": 2**40, "model": "m" * 100_000}))
        reflected = MetaData()
        reflected.reflect(connection, only=["run"])
        assert connection.execute(select(tables.run.c.tokens, tables.run.c.model)).one() == (2**40, "m" * 100_000)
