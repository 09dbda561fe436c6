"""`explicate schedule`: suites on a timetable, and the process that runs them."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explicate.commands.options import Json

if TYPE_CHECKING:
    from evals.schedule import Schedule, Server

app = typer.Typer(no_args_is_help=True, help="Run suites on a timetable: add, list, pause, resume and remove schedules, and serve them.")

Name = Annotated[str, typer.Argument(help="The schedule's name; see `explicate schedule list`.")]


@app.command(no_args_is_help=True)
def add(
    file: Annotated[Path, typer.Argument(help="The suite's TOML file.")],
    cron: Annotated[str, typer.Option(help="When: minute, hour, day of the month, month, day of the week, as in crontab.")],
    timezone: Annotated[str, typer.Option(help="On whose clock: a name of the IANA database, such as Europe/Berlin.")] = "UTC",
    name: Annotated[str, typer.Option(help="What it is called; by default as the suite.")] = "",
    grace: Annotated[int, typer.Option(help="Seconds a run may begin late; later it is missed.", min=60, max=366 * 24 * 3600)] = 6 * 3600,
    json: Json = False,
) -> None:
    """Put a suite on a timetable. Runs that were due while nobody was there are one run, if the last of them is within the grace.

    A time that the clock skips in spring is due at once, one that it repeats in autumn is due once; with * in minute or hour all count.

    Example: explicate schedule add nightly.toml --cron "0 3 * * *" --timezone Europe/Berlin
    """
    from evals.database import open_database
    from evals.schedule import add_schedule
    from evals.schedule.cron import Cron
    from evals.suites import load_suite
    from explicate.running import say, show_json

    Cron(cron, timezone)
    suite = load_suite(file)
    with open_database() as database:
        added = add_schedule(database, file, cron=cron, timezone=timezone, name=name or suite.name, grace_s=grace)
    if json:
        show_json(as_json(added))
    else:
        say(f"added {added.name}: next at {_local(added.next_due, added)}; it runs where `explicate schedule serve` or `run-due` runs")


@app.command("list")
def list_(json: Json = False) -> None:
    """Show all schedules: when they run next, how their last run ended, and whether a server is there to run them.

    Example: explicate schedule list
    """
    from evals.database import open_database
    from evals.database.times import now
    from evals.schedule import all_schedules, all_servers
    from evals.schedule.times import Times
    from explicate.running import show_json

    with open_database() as database:
        found, servers, at = all_schedules(database), all_servers(database), now()
    alive = [server for server in servers if server.alive(at, Times().lease)]
    if json:
        show_json({"schedules": [as_json(one, at) for one in found], "servers": [_server(one) for one in alive]})
    else:
        _show(found, alive, at)


@app.command(no_args_is_help=True)
def pause(name: Name, json: Json = False) -> None:
    """Begin no more runs of a schedule until it is resumed; one that is running runs on.

    Example: explicate schedule pause nightly
    """
    from evals.database import open_database
    from evals.schedule import pause_schedule
    from explicate.running import say, show_json

    with open_database() as database:
        paused = pause_schedule(database, name)
    if json:
        show_json(as_json(paused))
    else:
        say(f"paused {paused.name}; go on with: explicate schedule resume {paused.name}")


@app.command(no_args_is_help=True)
def resume(name: Name, json: Json = False) -> None:
    """Go on with a schedule that is paused, from now: what was due meanwhile is not caught up.

    Example: explicate schedule resume nightly
    """
    from evals.database import open_database
    from evals.schedule import resume_schedule
    from explicate.running import say, show_json

    with open_database() as database:
        resumed = resume_schedule(database, name)
    if json:
        show_json(as_json(resumed))
    else:
        say(f"resumed {resumed.name}: next at {_local(resumed.next_due, resumed)}")


@app.command(no_args_is_help=True)
def remove(name: Name, json: Json = False) -> None:
    """Take a suite off the timetable; its runs stay, and one that is running is ended.

    Example: explicate schedule remove nightly
    """
    from evals.database import open_database
    from evals.schedule import remove_schedule
    from explicate.running import say, show_json

    with open_database() as database:
        remove_schedule(database, name)
    if json:
        show_json({"removed": name})
    else:
        say(f"removed {name}")


@app.command()
def serve(
    runs: Annotated[Path | None, typer.Option(help="Where run folders go; by default runs/ beside each suite's file.")] = None,
    host: Annotated[str, typer.Option(help="Address that /healthz answers on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of /healthz; 0: any that is free.", min=0, max=65535)] = 8001,
    json: Annotated[bool, typer.Option("--json", help="As always: the log is one JSON object a line, on stderr.")] = False,
) -> None:
    """Run what is due when it is due, until SIGTERM or Ctrl-C; what is running then is gone on with by the next start.

    Any number of servers may share a database, and none runs a suite that another is at. /healthz answers 503 when the work hangs.

    Example: explicate schedule serve --port 8001
    """
    from evals.database import open_database
    from evals.schedule.serve import serve as serve_
    from evals.schedule.suite_run import suite_runner
    from explicate.running import show_json
    from explicate.suite_page import draw_page

    with open_database() as database:
        serve_(database, run=suite_runner(draw_page), runs=None if runs is None else runs.absolute(), host=host, port=port)
    if json:
        show_json({"stopped": True})


def as_json(schedule: "Schedule", at: datetime | None = None) -> dict[str, Any]:
    """A schedule as --json shows it; `at`: with whether somebody is running it then."""
    from dataclasses import asdict

    values = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(schedule).items()}
    held = {} if at is None else {"running": schedule.held(at)}
    return {**values, "suite_file": str(schedule.suite_file), **held}


def _server(server: "Server") -> dict[str, Any]:
    return {"host": server.host, "pid": server.pid, "started": server.started.isoformat(), "heartbeat": server.heartbeat.isoformat()}


def _local(moment: datetime, schedule: "Schedule") -> str:
    """A moment on the schedule's clock."""
    from evals.schedule.cron import zone_of

    return f"{moment.astimezone(zone_of(schedule.timezone)):%a %Y-%m-%d %H:%M %Z}"


def _show(found: "list[Schedule]", alive: "list[Server]", at: datetime) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from explicate.running import plain

    console = Console()
    if found:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
        for column in ("schedule", "when", "next", "last", "and how it ended"):
            table.add_column(column, overflow="fold")
        for one in found:
            last = "" if one.last_due is None else _local(one.last_due, one)
            upcoming = "[yellow]paused" if one.paused else _local(one.next_due, one)
            table.add_row(
                f"{plain(one.name)}\n[dim]{plain(str(one.suite_file))}",
                f"{plain(one.cron)}\n[dim]{plain(one.timezone)}",
                upcoming,
                last,
                _ended(one, at),
            )
        console.print(table)
    else:
        console.print("No schedules. Add one with: explicate schedule add nightly.toml --cron '0 3 * * *'", soft_wrap=True)
    if alive:
        console.print("Served by " + plain(", ".join(f"{server.host}, process {server.pid}" for server in alive)), soft_wrap=True)
    elif found:
        console.print("[yellow]No server is there to run them: start `explicate schedule serve`, or call `explicate run-due` regularly.")


def _ended(schedule: "Schedule", at: datetime) -> str:
    from explicate.running import plain

    if schedule.held(at):
        return f"[green]running[/], by {plain(str(schedule.claimed_by))}"
    if schedule.last_status is None:
        return ""
    if schedule.unfinished:
        shown = "[yellow]interrupted[/], to be gone on with"
    else:
        shown = f"[{'green' if schedule.last_status == 'done' else 'red'}]{schedule.last_status}[/]"
    return shown + (f"\n[dim]{plain(schedule.last_error)}[/]" if schedule.last_error else "")
