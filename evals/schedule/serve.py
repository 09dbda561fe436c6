"""A process that runs what is due when it is due, until it is asked to end. Any number of them may share a database."""

from datetime import datetime
from pathlib import Path

from evals.database import Database
from evals.database.times import now
from evals.database.told import OutOfReach
from evals.schedule import servers
from evals.schedule.due import Log, run_due
from evals.schedule.health import answering
from evals.schedule.heartbeat import Heartbeat, Pulse
from evals.schedule.json_lines import json_line
from evals.schedule.schedules import Clock, due_schedules, next_due
from evals.schedule.stopping import asked_to_end
from evals.schedule.times import Times
from evals.schedule.work import Run

PORT = 8001


def serve(
    database: Database,
    *,
    run: Run,
    runs: Path | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    log: Log = json_line,
    times: Times = Times(),  # noqa: B008 - frozen
    clock: Clock = now,
) -> None:
    """Run what is due until SIGTERM or Ctrl-C: a suite that is running then is ended between two calls, and gone on with by the next start.

    Must be called by the main thread. Answers /healthz on host and port. A database that fails is tried again. Raises ExplicateError where
    the port cannot be had, or the database fails at the start.
    """
    me, pulse = servers.new_id(), Pulse(times.hung)
    with asked_to_end() as asked, answering(pulse, host, port) as at:
        servers.register(database, me, clock())
        log("started", server=me, healthz=f"http://{host}:{at}/healthz", database=database.where)
        with Heartbeat(lambda: servers.say(database, me, clock()), times.beat, pulse):
            while not asked.is_set():
                pulse.beat()
                wait = times.poll
                try:
                    ran = run_due(database, run=run, owner=me, runs=runs, stop=asked.is_set, log=log, pulse=pulse, times=times, clock=clock)
                    if not ran:
                        wait = _wait(database, clock(), times.poll)
                except OutOfReach as error:
                    log("database", server=me, error=str(error), again_in_s=times.poll)
                asked.wait(wait)
        log("stopping", server=me)
        try:
            servers.leave(database, me)
        except OutOfReach as error:
            # It is forgotten after a day.
            log("database", server=me, error=str(error))
    log("stopped", server=me)


def _wait(database: Database, at: datetime, longest: float) -> float:
    """Seconds until there may be something to do."""
    if due_schedules(database, at):
        return longest  # somebody else is at its suite
    due = next_due(database)
    return longest if due is None else min(longest, max(0.0, (due - at).total_seconds()))
