"""The timetable: which suites run when, how the last run of each ended, and who is there to run them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from evals.schedule.schedules import Schedule, all_schedules
from evals.schedule.servers import Server, all_servers
from evals.schedule.times import Times
from explicate.shaded_words import visible
from explicate.web import naming
from explicate.web.rendering import Store, page

router = APIRouter()


class ScheduleAnswer(BaseModel):
    """A suite on a timetable. Times are UTC."""

    name: str
    cron: str
    timezone: str
    paused: bool
    running: bool
    grace_s: int
    next_due: datetime
    last_due: datetime | None
    last_run: str | None
    last_status: str | None
    last_error: str | None


class ServerAnswer(BaseModel):
    """A process that runs what is due."""

    host: str
    pid: int
    started: datetime
    heartbeat: datetime
    alive: bool


class SchedulesAnswer(BaseModel):
    """The timetable, and who keeps it."""

    schedules: list[ScheduleAnswer]
    servers: list[ServerAnswer]


@router.get("/schedules", response_class=HTMLResponse, include_in_schema=False)
def schedules_page(request: Request, store: Store) -> HTMLResponse:
    """All schedules with their last and next runs."""
    at = datetime.now(UTC)
    found = all_schedules(store)
    servers = all_servers(store)
    return page(
        request,
        "schedules.html",
        title="Schedules",
        rows=[_row(each, at, known=each.last_run_id is not None and store.run(each.last_run_id) is not None) for each in found],
        servers=[
            {
                "host": visible(each.host),
                "pid": each.pid,
                "started": naming.moment(each.started),
                "said": ago(at, each.heartbeat),
                "alive": _alive(each, at),
            }
            for each in servers
        ],
        nobody=bool(found) and not any(_alive(each, at) for each in servers) and not any(each.held(at) for each in found),
    )


@router.get("/api/schedules", tags=["schedules"])
def schedules_json(store: Store) -> SchedulesAnswer:
    """All schedules with their last and next runs."""
    at = datetime.now(UTC)
    return SchedulesAnswer(schedules=[_answer(each, at) for each in all_schedules(store)], servers=_servers(all_servers(store), at))


def _answer(each: Schedule, at: datetime) -> ScheduleAnswer:
    return ScheduleAnswer(
        name=each.name,
        cron=each.cron,
        timezone=each.timezone,
        paused=each.paused,
        running=each.held(at),
        grace_s=each.grace_s,
        next_due=each.next_due,
        last_due=each.last_due,
        last_run=each.last_run_id,
        last_status=each.last_status,
        last_error=each.last_error,
    )


def _servers(found: Sequence[Server], at: datetime) -> list[ServerAnswer]:
    return [
        ServerAnswer(host=each.host, pid=each.pid, started=each.started, heartbeat=each.heartbeat, alive=_alive(each, at)) for each in found
    ]


def _alive(server: Server, at: datetime) -> bool:
    return server.alive(at, Times().lease)


def _row(each: Schedule, at: datetime, *, known: bool) -> dict[str, Any]:
    zone = ZoneInfo(each.timezone)
    held = each.held(at)
    unfinished = each.unfinished and not held
    return {
        "name": visible(each.name),
        "suite_file": visible(each.suite_file.name),
        "cron": each.cron,
        "timezone": visible(each.timezone),
        "state": "running" if held else "paused" if each.paused else "to be resumed" if unfinished else "waiting",
        "held_by": visible(each.claimed_by or "") if held else "",
        "next": naming.moment(each.next_due),
        "next_local": each.next_due.astimezone(zone).strftime("%a %d %b, %H:%M"),
        "overdue": each.next_due < at,
        "next_in": until(at, each.next_due),
        "last": naming.moment(each.last_due),
        "last_status": each.last_status or "",
        "last_error": visible(each.last_error or ""),
        "last_run": each.last_run_id if known else "",
    }


def ago(at: datetime, then: datetime) -> str:
    """`12 s ago`."""
    return f"{_span((at - then).total_seconds())} ago"


def until(at: datetime, then: datetime) -> str:
    """`in 3 h`, or `overdue by 5 min`."""
    seconds = (then - at).total_seconds()
    return f"in {_span(seconds)}" if seconds >= 0 else f"overdue by {_span(-seconds)}"


def _span(seconds: float) -> str:
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"
