"""`explicate compare`: whether a run is worse than its baseline, by more than its noise."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json


def compare(
    run: Annotated[str, typer.Argument(help="Run folder, or id of a run in the results database.")],
    baseline: Annotated[
        str | None, typer.Option(help="The run to hold it against, folder or id; by default the one that `explicate baseline set` named.")
    ] = None,
    suite: Annotated[
        Path | None, typer.Option(help="A suite's file, for its thresholds and its alpha; by default those that the run was made with.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Largest chance that anything regresses where nothing changed; by default the suite's, or .05.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with code 3 also where a watched metric failed for another reason than too many failures, or is missing."
        ),
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="List all metrics, not only those that changed.")] = False,
    json: Json = False,
) -> None:
    """Compare a run with its baseline, metric by metric, paired where both have the same items.

    Exit code 0: nothing regressed; 3: something did, by more than its interval, its minimum effect and what chance does over all metrics.

    Example: explicate compare runs/tonight --baseline runs/last-week
    """
    from contextlib import ExitStack
    from functools import cache

    from analyzers.errors import ExplicateError
    from evals.comparison import compare as compared
    from evals.comparison.located import baseline_folder, located
    from evals.database import open_database
    from evals.suites import load_suite
    from explicate.comparison_table import show_comparison
    from explicate.running import show_json

    if alpha is not None and not 0 < alpha < 1:
        raise ExplicateError(f"--alpha is {alpha}; it must lie between 0 and 1, such as .05")
    asked = None if suite is None else load_suite(suite)
    with ExitStack() as stack:
        opened = cache(lambda: stack.enter_context(open_database()))
        folder = located(run, opened)
        held_against = baseline_folder(run, opened()) if baseline is None else located(baseline, opened)
    found = compared(
        folder,
        held_against,
        thresholds=None if asked is None else asked.thresholds,
        alpha=alpha if asked is None or alpha is not None else asked.alpha,
    )
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        show_comparison(found, every=every)
    if found.worse or (strict and (found.failed or found.missing)):
        raise typer.Exit(3)
