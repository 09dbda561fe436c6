"""`explicate run-due`: run what is due, once, for whatever calls it regularly."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json


def run_due(
    runs: Annotated[Path | None, typer.Option(help="Where run folders go; by default runs/ beside each suite's file.")] = None,
    json: Json = False,
) -> None:
    """Run every schedule that is due, and end: for cron, systemd timers, Kubernetes CronJobs, Airflow. Call it as often as you like.

    Exit code 0: nothing due, or all done; 2: a suite failed; 3: something regressed; 4: a limit stopped one. Ended by SIGTERM or Ctrl-C
    (130), the next call goes on.

    Example: explicate run-due
    """
    from agents.untrusted import one_line
    from evals.database import open_database
    from evals.schedule import run_due as run_
    from evals.schedule.servers import new_id
    from evals.schedule.stopping import asked_to_end
    from evals.schedule.suite_run import suite_runner
    from explicate.running import say, show_json
    from explicate.suite_page import draw_page

    def log(event: str, /, **facts: object) -> None:
        if event != "ended":
            said = ", ".join(f"{key} {value}" for key, value in facts.items() if key != "schedule")
            say(
                one_line(
                    f"{facts.get('schedule', '')}: {facts['line']}" if event == "said" else f"{facts.get('schedule', '')} {event}: {said}"
                )
            )

    with open_database() as database, asked_to_end() as asked:
        folder = None if runs is None else runs.absolute()
        ran = run_(database, run=suite_runner(draw_page), owner=new_id(), runs=folder, stop=asked.is_set, log=log)
    rows = [{**vars(one), "due": one.due.isoformat(), "folder": None if one.folder is None else str(one.folder)} for one in ran]
    if json:
        show_json({"ran": rows})
    else:
        for one in ran:
            print(f"{one.schedule} {one.status}{' and regressed' if one.regressed else ''}{f': {one.folder}' if one.folder else ''}")
            if one.error:
                say(one_line(one.error))
        if not ran:
            print("nothing is due")
    ends = {one.status for one in ran}
    if asked.is_set():
        raise typer.Exit(130)
    if "failed" in ends:
        raise typer.Exit(2)
    if any(one.regressed for one in ran):
        raise typer.Exit(3)
    if "stopped" in ends:
        raise typer.Exit(4)
