"""`explicate suite`: tasks that are run together, again and again."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json

app = typer.Typer(no_args_is_help=True, help="Run labels, audits and measurements of confidence together, again and again.")

SuiteFile = Annotated[Path, typer.Argument(help="The suite's TOML file.")]


@app.command()
def init(
    file: SuiteFile,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a suite to begin with: three tasks on small local models, some minutes each on two cores.

    Example: explicate suite init nightly.toml
    """
    from analyzers.errors import ExplicateError
    from evals.suites.config import EXAMPLE
    from explicate.running import say, show_json

    if file.exists() and not force:
        raise ExplicateError(f"{str(file)!r} is there already; give another name, or --force to replace it")
    file.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    if json:
        show_json({"suite": str(file)})
    else:
        say(f"wrote {file}; now: explicate suite run {file}")


@app.command()
def run(
    file: SuiteFile,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default a new one under runs/, or that of a run of the same suite that did not end.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Enter the run into the results database, and tell of alerts.")
    ] = True,
    json: Json = False,
) -> None:
    """Run every task of a suite into one run folder; what failed or was stopped is done when it is run again with the same --out.

    Exit code 0: all done; 2: a task failed; 3: something regressed from the suite's baseline, or is void and was not; 4: a limit
    stopped it.

    Example: explicate suite run nightly.toml
    """
    from evals.database import open_database
    from evals.suites import load_suite, next_folder, run_suite
    from explicate.progress import bars
    from explicate.running import await_, say, show_json
    from explicate.suite_page import draw_page
    from explicate.suite_table import show_suite

    suite = load_suite(file)
    folder = out or next_folder(suite, Path("runs"))
    if record:
        # What would keep the run from being entered is told before it.
        open_database().close()
    with bars() as report:
        results = await_(run_suite(suite, folder, report=report, tell=say, draw=draw_page))
    page = draw_page("suite", folder)
    entered = None
    if record:
        from evals.suites.record import record as recorded

        with open_database() as database:
            entered = recorded(suite, folder, database)
    if json:
        show_json(results.model_dump(mode="json") | {"folder": str(folder), "recorded": None if entered is None else entered.summary()})
    else:
        show_suite(results, folder, page, entered)
    if any(task.status == "failed" for task in results.tasks):
        raise typer.Exit(2)
    if any(task.status == "stopped" for task in results.tasks):
        raise typer.Exit(4)
    if entered is not None and entered.comparison is not None and entered.comparison.worse:
        raise typer.Exit(3)
