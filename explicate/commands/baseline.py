"""`explicate baseline`: the run that later runs are held against."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from explicate.commands.options import Json

if TYPE_CHECKING:
    from evals.database import Database

app = typer.Typer(no_args_is_help=True, help="Say which run later runs of a suite are held against.")

Name = Annotated[str, typer.Argument(help="Of the suite, or of a run of its own; as `explicate baseline show` lists it.")]


@app.command("set")
def set_(
    run: Annotated[str, typer.Argument(help="Run folder, or id of a run in the results database.")],
    name: Annotated[str, typer.Option("--for", help="What it is the baseline of; by default its own suite, or its own name.")] = "",
    json: Json = False,
) -> None:
    """Hold later runs against this one; it is entered into the results database.

    Example: explicate baseline set runs/suite-nightly-20250101T030000
    """
    from agents.untrusted import one_line
    from evals.comparison.located import recorded
    from evals.database import open_database
    from explicate.running import say, show_json

    with open_database() as database:
        row = recorded(run, database)
        series = name or row.series
        database.set_baseline(series, row.id)
    if row.void or row.status != "done":
        say(f"mind: this run is {'void' if row.void else row.status}: metrics that failed in it can be compared with nothing")
    if json:
        show_json({"name": series, "run": row.id, "folder": row.folder})
    else:
        print(f"runs of {one_line(series)} are held against {row.id} ({one_line(row.folder)}) from now on")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Of the suite, or of a run of its own; by default all.")] = "",
    json: Json = False,
) -> None:
    """List the baselines.

    Example: explicate baseline show
    """
    from agents.untrusted import one_line
    from evals.database import open_database
    from explicate.running import show_json

    with open_database() as database:
        found = _baselines(database, name)
    if json:
        show_json({"baselines": found})
        return
    for row in found:
        print(one_line(f"{row['name']}: {row['run']} ({row['folder']}), set {row['set_at']}"))
    if not found:
        print(f"{one_line(name)} has no baseline; set one: explicate baseline set RUN" if name else "there are no baselines")


@app.command()
def clear(name: Name, json: Json = False) -> None:
    """Hold runs against nothing any more; the run that was the baseline stays.

    Example: explicate baseline clear nightly
    """
    from sqlalchemy import delete

    from agents.untrusted import one_line
    from analyzers.errors import ExplicateError
    from evals.database import open_database
    from evals.database.tables import baseline
    from explicate.running import show_json

    with open_database() as database:
        names = [row["name"] for row in _baselines(database)]
        if name not in names:
            raise ExplicateError(f"{name!r} has no baseline; those that have one: {', '.join(names) or 'none'}")
        with database.write() as connection:
            connection.execute(delete(baseline).where(baseline.c.suite == name))
    if json:
        show_json({"name": name, "cleared": True})
    else:
        print(f"{one_line(name)} has no baseline any more")


def _baselines(database: "Database", name: str = "") -> list[dict[str, Any]]:
    """By name: the run that is the baseline, its folder, and since when."""
    from sqlalchemy import select

    from evals.database.tables import baseline, run

    wanted = select(baseline.c.suite, run.c.id, run.c.folder, baseline.c.set_at).join(run, run.c.id == baseline.c.run_id)
    if name:
        wanted = wanted.where(baseline.c.suite == name)
    with database.read() as connection:
        rows = connection.execute(wanted.order_by(baseline.c.suite)).all()
    return [{"name": of, "run": one, "folder": folder, "set_at": since.isoformat()} for of, one, folder, since in rows]
