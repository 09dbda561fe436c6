"""The command line: `explicate COMMAND`. Commands import what they need when they run, so that --help stays quick."""

import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

from explicate.commands import demo, doctor, label, models, report, sample, selftest

app = typer.Typer(
    name="explicate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find out what a language model is doing, and check whether the explanations hold.",
    epilog="Start with: explicate demo",
)
for command in (demo.demo, label.label, sample.sample, selftest.selftest, report.report, models.models, doctor.doctor):
    app.command(no_args_is_help=command in (label.label, sample.sample, report.report))(command)

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "the file size limit is reached"}


def _stop(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def run(body: Callable[[], None]) -> None:
    """Run a command; what the user can mend becomes one line on stderr and an exit code (0 done, 2 mend it, 4 a limit stopped it)."""
    from analyzers.errors import ExplicateError, LimitReached

    try:
        body()
    except ExplicateError as error:
        _stop(f"error: {error}", 2)
    except LimitReached as limit:
        _stop(f"stopped: {limit}", 4)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from here", 130)
    except OSError as error:
        if error.errno in _NO_ROOM:
            where = f" at {error.filename!r}" if error.filename else ""
            _stop(f"error: {_NO_ROOM[error.errno]}{where}; free some room and run the same command again, it goes on from here", 2)
        if isinstance(error, PermissionError):
            _stop(f"error: no permission to write {error.filename!r}; choose another folder or change its permissions", 2)
        raise


def main() -> None:
    """Entry point of the `explicate` program."""
    # Threads that wait for each other in a busy loop starve whatever else runs on a small machine; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run(app)
