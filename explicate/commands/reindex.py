"""`explicate reindex`: import run folders into the results database."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json


def reindex(
    roots: Annotated[list[Path] | None, typer.Argument(help="Folders to look for run folders in, at any depth; by default ./runs.")] = None,
    json: Json = False,
) -> None:
    """Import every run folder below some folders into the results database; what is damaged or half deleted is named and skipped.

    Example: explicate reindex runs
    """
    from agents.untrusted import one_line
    from evals.database import open_database
    from explicate.running import say, show_json

    with open_database() as database:
        found = database.reindex(roots or [Path("runs")])
    if json:
        skipped = [{"folder": folder, "reason": reason} for folder, reason in found.failed]
        show_json({"database": database.where, "found": found.found, "added": found.added, "skipped": skipped})
        return
    for _, reason in found.failed:
        say(f"skipped: {one_line(reason)}")
    print(f"{found.added:,} of {found.found:,} run folders are in the database {one_line(database.where)}")
