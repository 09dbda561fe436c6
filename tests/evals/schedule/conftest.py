"""A database of each kind, and a clock that a test sets."""

import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from evals.database import Database, open_database
from evals.schedule.schedules import Schedule, add_schedule

POSTGRES = os.environ.get("EXPLICATE_TEST_POSTGRES_URL", "")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'results.sqlite'}"
        return
    if not POSTGRES:
        pytest.skip("EXPLICATE_TEST_POSTGRES_URL names no PostgreSQL")
    # A schema: to make a database takes PostgreSQL ten times as long.
    schema = f"schedule_{secrets.token_hex(6)}"
    admin = create_engine(POSTGRES)
    try:
        with admin.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        yield make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    finally:
        with admin.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        admin.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with open_database(database_url) as opened:
        yield opened


class Clock:
    """Stands still, but for the test."""

    def __init__(self) -> None:
        self.at = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def go(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.toml"
    path.write_text('name = "nightly"\n', encoding="utf-8")
    return path


@pytest.fixture
def scheduled(database: Database, suite_file: Path, clock: Clock) -> Callable[..., Schedule]:
    """scheduled("name", cron="0 * * * *") adds a schedule, hourly if nothing else is said."""

    def add(name: str = "nightly", *, cron: str = "0 * * * *", file: Path = suite_file, grace_s: int = 7200) -> Schedule:
        return add_schedule(database, file, cron=cron, name=name, grace_s=grace_s, clock=clock)

    return add
