"""The processes of `schedule serve` that are there, as they say themselves."""

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from evals.database import Database, tables

_FORGOTTEN = timedelta(days=1)
"""After which a server that ended without a word is taken out of the table."""
table = tables.server


@dataclass(frozen=True)
class Server:
    """One process."""

    id: str
    host: str
    pid: int
    started: datetime
    heartbeat: datetime

    def alive(self, at: datetime, within_s: float) -> bool:
        """Whether it gave a sign of life that short a time ago."""
        return at - self.heartbeat <= timedelta(seconds=within_s)


def new_id() -> str:
    """An id for this process, unlike that of any other, also of an earlier one with the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def register(database: Database, id: str, at: datetime) -> None:
    """Enter this process, and forget those long gone."""
    with database.write() as connection:
        connection.execute(delete(table).where(table.c.heartbeat < at - _FORGOTTEN))
        connection.execute(insert(table).values(id=id, host=socket.gethostname(), pid=os.getpid(), started=at, heartbeat=at))


def say(database: Database, id: str, at: datetime) -> bool:
    """This process is there; entered again where it was forgotten."""
    with database.write() as connection:
        known = connection.execute(update(table).where(table.c.id == id).values(heartbeat=at)).rowcount
    if not known:
        register(database, id, at)
    return True


def leave(database: Database, id: str) -> None:
    """This process ends."""
    with database.write() as connection:
        connection.execute(delete(table).where(table.c.id == id))


def all_servers(database: Database) -> list[Server]:
    """All that have not taken leave, the latest first."""
    with database.read() as connection:
        return [Server(**row._mapping) for row in connection.execute(select(table).order_by(table.c.started.desc()))]
