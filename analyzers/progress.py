"""How long-running code tells where it stands; only explicate/ draws it."""

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""(what, done, total), called often; total 0 where it is not known."""


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""
