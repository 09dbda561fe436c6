"""The command line: `explicate COMMAND`. Commands import what they need when they run, so that --help stays quick."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from explicate.commands import (
    attention,
    attribute,
    audit,
    baseline,
    compare,
    confidence,
    demo,
    doctor,
    edit,
    export,
    grow,
    icl,
    import_,
    influence,
    label,
    models,
    probe,
    reindex,
    report,
    rescore,
    run_due,
    sample,
    schedule,
    selftest,
    suite,
    trace,
    view,
)

app = typer.Typer(
    name="explicate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find out what a language model is doing, and check whether the explanations hold.",
    epilog="Start with: explicate demo",
)
for command in (
    demo.demo,
    label.label,
    import_.import_,
    rescore.rescore,
    audit.audit,
    confidence.confidence,
    attribute.attribute,
    attention.attention,
    icl.icl,
    grow.grow,
    trace.trace,
    edit.edit,
    sample.sample,
    selftest.selftest,
    report.report,
    models.models,
    doctor.doctor,
    compare.compare,
    export.export,
    run_due.run_due,
    reindex.reindex,
    view.view,
):
    needs_none = (demo.demo, models.models, doctor.doctor, selftest.selftest, run_due.run_due, reindex.reindex, view.view)
    name = "import" if command is import_.import_ else None
    app.command(name, no_args_is_help=command not in needs_none)(command)
for name, group in (
    ("probe", probe.app),
    ("influence", influence.app),
    ("suite", suite.app),
    ("schedule", schedule.app),
    ("baseline", baseline.app),
):
    app.add_typer(group, name=name)

_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "the file size limit is reached"}


_INTERRUPTED = 130
"""What typer returns for Ctrl-C."""


def _one_line(message: str) -> str:
    """The message on one line; what a server or a file put into it cannot steer the terminal."""
    from agents.untrusted import one_line

    return one_line(" ".join(message.split()))


def _stop(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def run(body: Callable[[], int | None]) -> None:
    """Run a command; what the user can mend becomes one line on stderr and an exit code (0 done, 2 mend it, 4 a limit stopped it)."""
    from analyzers.errors import ExplicateError, LimitReached

    try:
        code = body()
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        raise SystemExit(code or 0)
    except TyperException as wrong:
        # Without any arguments the help has been printed, and nothing is left to say.
        message = _one_line(wrong.format_message()).removesuffix(".")
        if not message:
            raise SystemExit(2) from None
        command = getattr(getattr(wrong, "ctx", None), "command_path", "explicate")
        _stop(f"error: {message}; see {command} --help", 2)
    except ExplicateError as error:
        _stop(f"error: {_one_line(str(error))}", 2)
    except LimitReached as limit:
        _stop(f"stopped: {_one_line(str(limit))}", 4)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from here", _INTERRUPTED)
    except OSError as error:
        if error.errno in _NO_ROOM:
            where = f" at {error.filename!r}" if error.filename else ""
            _stop(f"error: {_NO_ROOM[error.errno]}{where}; free some room and run the same command again, it goes on from here", 2)
        if error.filename is None:
            _stop(f"error: {_one_line(str(error)) or type(error).__name__}", 2)
        _stop(f"error: {error.filename!r} cannot be read or written: {error.strerror}; give another path, or mend this one", 2)


def main() -> None:
    """Entry point of the `explicate` program."""
    # Threads that wait for each other in a busy loop starve whatever else runs on a small machine; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What ends a service or a container is told like Ctrl-C; commands that can end gently take it over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run(lambda: app(standalone_mode=False))
