"""What commands and the notebook share: run, draw the report, show the table."""

import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from explicate.progress import bars
from explicate.written_file import check_file, write_file

if TYPE_CHECKING:
    from pydantic import BaseModel

    from evals.label_config import LabelConfig, Limits
    from evals.results import RunResults

T = TypeVar("T")
R = TypeVar("R", bound="BaseModel")


def say(line: str) -> None:
    """A line for the person at the terminal; stdout is kept for results."""
    print(line, file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Text of a model, a file or a user, that steers neither a table nor the terminal."""
    from rich.markup import escape

    from agents.untrusted import one_line
    from explicate.shaded_words import visible

    return escape(visible(one_line(text)))


def await_(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, also from a notebook, whose event loop is running already: then on a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def default_out(name: str, config: "BaseModel", prefix: str = "") -> Path:
    """runs/<prefix><name>-<hash of the configuration>: the same command goes on in the same folder."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return Path("runs") / f"{prefix}{Path(name).name[:50]}-{digest}"


def run_shown(
    work: Callable[..., Coroutine[Any, Any, R]], folder: Path, write: Callable[[Path], Path], show: Callable[[R, Path], None], *, json: bool
) -> R:
    """Run and present what came of it; where a limit stopped the run that is said first, and the program ends with exit code 4.

    work: takes the run folder, `report` for its progress and `tell` for lines to the user.
    """
    from agents.untrusted import one_line
    from evals.each import Stopped

    stopped: Stopped[R] | None = None
    with bars() as report:
        try:
            results = await_(work(folder, report=report, tell=say))
        except Stopped as limit:
            stopped, results = limit, limit.results
    if stopped is not None:
        say(f"stopped: {one_line(str(stopped))}")
    present(results, folder, write, show, json=json)
    if stopped is not None:
        raise typer.Exit(4)
    return results


def present(results: R, folder: Path, write: Callable[[Path], Path], show: Callable[[R, Path], None], *, json: bool) -> None:
    """Write the page of a run folder, and show its table or one JSON object."""
    page = write(folder)
    if json:
        show_json(results.model_dump(mode="json"))
    else:
        show(results, page)


def run_written(
    work: Callable[..., R],
    out: Path | None,
    forms: Mapping[str, Callable[[R], str]],
    show: Callable[[R, Path | None], None],
    *,
    usual: str,
    json: bool,
    also: Mapping[str, Path | None] | None = None,
) -> None:
    """Run, write what was found to the file that --out names, and show its table or one JSON object.

    work: takes `report` for its progress. forms: how it is written, by ending. usual: a name to suggest for the file. also: further files
    that the work writes, as they are called in the JSON object. Raises ExplicateError, before the work begins, where the file cannot be
    written.
    """
    if out is not None:
        check_file(out, usual, forms)
    with bars() as report:
        found = work(report=report)
    if out is not None:
        write_file(found, out, forms)
    if json:
        files = {name: str(path) for name, path in {"report": out, **(also or {})}.items() if path is not None}
        show_json({**files, **found.model_dump(mode="json")})
    else:
        show(found, out)


def run_label(config: "LabelConfig", limits: "Limits", out: Path | None, *, json: bool) -> "RunResults":
    """Label, write the report, and print the table (or one JSON object)."""
    from evals.label import label
    from explicate.label_table import show
    from explicate.report import write_report

    folder = out or default_out(config.subject, config)
    results = run_shown(partial(label, config, limits=limits), folder, write_report, show, json=json)
    if not results.leak_audit.passed:
        raise typer.Exit(2)
    return results


def show_json(value: Any) -> None:
    """One JSON object on stdout."""
    json.dump(value, sys.stdout, ensure_ascii=False, allow_nan=False)
    print()


def cell(value: Any, *, sign: bool = False, mark: str = "") -> str:
    """A value for a table, marked, with its interval below it, or that it failed."""
    from evals.results import Value

    if not isinstance(value, Value):
        return "[red]failed"

    low, high = short(value.low, sign=sign), short(value.high, sign=sign)
    return f"{value.value:{'+' if sign else ''}.2f}{mark}\n[dim]{low} to {high}"


def short(value: float, *, digits: int = 2, sign: bool = False) -> str:
    """A number without the 0 before its point, and without the sign of a 0."""
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}")
