"""A transaction of SQLite that is there as a whole or not at all, also where the disk is full."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(file: sqlite3.Connection) -> Iterator[None]:
    """Within the context writes belong together, and other processes wait; the connection commits by itself otherwise."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
        file.execute("COMMIT")
    except BaseException:
        # Where the disk is full the transaction may have been undone already.
        if file.in_transaction:
            file.execute("ROLLBACK")
        raise
