"""`explicate view`: the pages of the results database, in a browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explicate.commands.options import Json

if TYPE_CHECKING:
    import socket

    from evals.database import Database

TOKEN_LENGTH = 16
"""Characters of a token at least: nobody counts wrong ones."""
SAID = 5
"""Run folders that cannot be shown and are named."""


def view(
    port: Annotated[int, typer.Option(help="Port to answer on; 0: any that is free.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to answer on; for any but this machine's own a token is needed.")] = "127.0.0.1",
    token_env: Annotated[str, typer.Option(help="Environment variable that holds the token which readers must give.")] = "",
    runs: Annotated[
        list[Path] | None, typer.Option(help="Folder whose new run folders are imported first, at any depth; by default ./runs.")
    ] = None,
    json: Json = False,
) -> None:
    """Show runs, trends, sites, items, comparisons and schedules in a browser, and answer programs at /api (see /api/openapi.json).

    Example: explicate view --port 8000
    """
    import os
    import sys

    import uvicorn

    from agents.untrusted import one_line
    from evals.database import open_database
    from explicate.running import say, show_json
    from explicate.web.app import create_app
    from explicate.web.security import LOCAL

    local = _is_local(host)
    token = _token(token_env, os.environ.get(token_env) if token_env else None, needed=not local, host=host)
    listening = _listen(host, port)
    address = _address(host, listening.getsockname()[1])
    with listening, open_database() as database:
        for line in _import_new(database, runs):
            say(line)
        app = create_app(database, token=token, hosts=(*LOCAL, f"[{host}]" if ":" in host else host))
        if json:
            show_json({"address": address, "database": database.where, "token": token is not None})
            sys.stdout.flush()  # whoever reads it waits for the address, not for the end
        say(f"pages of {one_line(database.where)} at {address} (Ctrl-C ends this)")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, proxy_headers=False))
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            say("ended")


def _is_local(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(name: str, value: str | None, *, needed: bool, host: str) -> str | None:
    """The token; raises ExplicateError, which never repeats it, where it is needed and missing, or easily guessed."""
    from analyzers.errors import ExplicateError

    if not name:
        if needed:
            raise ExplicateError(
                f"at {host!r} other machines can read these pages, so readers must give a token: put one of {TOKEN_LENGTH} characters or "
                "more into an environment variable, and name that with --token-env"
            )
        return None
    if not value:
        raise ExplicateError(f"the environment variable {name!r}, which --token-env names, is not set; put a token into it")
    if len(value) < TOKEN_LENGTH or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ExplicateError(f"the token in {name!r} must have {TOKEN_LENGTH} or more ASCII characters, without blanks at its ends")
    return value


def _listen(host: str, port: int) -> "socket.socket":
    """A socket that answers there; raises ExplicateError where the port is in use or the address is not this machine's."""
    import errno
    import socket

    from analyzers.errors import ExplicateError

    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except (socket.gaierror, UnicodeError):
        raise ExplicateError(f"{host!r} is no address of this machine; give --host 127.0.0.1, or 0.0.0.0 for all it has") from None
    try:
        # A port that a server left a moment ago can be taken again at once.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(128)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise ExplicateError(f"port {port} of {host} is in use; give another one with --port, or 0 for any that is free") from None
        if error.errno == errno.EACCES:
            raise ExplicateError(f"port {port} may not be used by you; give one above 1023 with --port") from None
        raise ExplicateError(f"{host!r} cannot be answered on ({error.strerror}); give --host 127.0.0.1") from None
    return found


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _import_new(database: "Database", roots: list[Path] | None) -> list[str]:
    """Import run folders that the database does not know; what to say of those that could not be. Raises ExplicateError for no folder."""
    from agents.untrusted import one_line
    from analyzers.errors import ExplicateError, RunFolderError
    from evals.database.folders import run_folders
    from evals.database.rows import run_id

    for root in roots or []:
        if not root.is_dir():
            raise ExplicateError(f"{str(root)!r} is no folder to look for runs in; give one that holds run folders with --runs")
    said = []
    for folder in (folder for root in roots or [Path("runs")] if root.is_dir() for folder in run_folders(root)):
        if database.run(run_id(folder)) is None:
            try:
                database.add_run(folder)
            except RunFolderError as error:
                said.append(f"not shown: {one_line(str(error))}")
    more = len(said) - SAID
    return said if more <= 0 else [*said[:SAID], f"not shown: {more} more; `explicate reindex` names them all"]
