"""What a driver says of a database that cannot be used, as an error that the user can mend, and without the password."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError

from analyzers.errors import ExplicateError

REMEDY = "name another one in EXPLICATE_DATABASE_URL"


class OutOfReach(ExplicateError):
    """A database that cannot be used now, and perhaps can later."""


@contextmanager
def told(where: str, url: URL) -> Iterator[None]:
    """Raise OutOfReach for a database that is out of reach, locked for too long, full or damaged; other errors go through.

    where: its name in messages.
    """
    try:
        yield
    except DBAPIError as error:
        # A plain DatabaseError is a damaged file; others of its kinds are wrong statements, which are not the user's.
        if not isinstance(error, OperationalError | InterfaceError) and type(error) is not DatabaseError:
            raise
        raise OutOfReach(f"the results database {where} cannot be used: {reason(error, url)}; mend it, or {REMEDY}") from None


def reason(error: Exception, url: URL) -> str:
    """What a driver says, on one line, without the password, which it may repeat."""
    said = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
    hidden = [url.password, *(value for key, value in url.query.items() if "pass" in key.lower())]
    for secret in hidden:
        if isinstance(secret, str) and secret:
            said = said.replace(secret, "***")
    return said
