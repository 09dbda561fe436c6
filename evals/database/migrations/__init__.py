"""How the database came to be what it is: numbered steps, each run once, in order, in one transaction, and never changed afterwards.

A step is a file `NNNN_what.py` with `upgrade(connection)`. It declares its tables itself rather than taking them from tables.py, which
follows the newest step.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

from sqlalchemy import Connection

Upgrade = Callable[[Connection], None]

__all__ = ["newest", "steps"]


@cache
def steps() -> dict[int, Upgrade]:
    """The steps by number, from 1 without a gap."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if re.fullmatch(r"\d{4}_\w+", path.stem))
    found = {int(name[:4]): import_module(f"{__name__}.{name}").upgrade for name in names}
    if list(found) != list(range(1, len(names) + 1)):
        raise RuntimeError(f"the migrations are not numbered from 1 without a gap: {', '.join(names)}")
    return found


def newest() -> int:
    """Version of a database that all steps have been run on."""
    return max(steps())
