"""Suites on a timetable: the table `schedule` says what is due, and whoever claims it runs it."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from evals.schedule.cron import Cron
    from evals.schedule.due import RanSuite, run_due
    from evals.schedule.schedules import Schedule, add_schedule, all_schedules, pause_schedule, remove_schedule, resume_schedule
    from evals.schedule.servers import Server, all_servers

__all__ = [
    "Cron",
    "RanSuite",
    "Schedule",
    "Server",
    "add_schedule",
    "all_schedules",
    "all_servers",
    "pause_schedule",
    "remove_schedule",
    "resume_schedule",
    "run_due",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Cron": "evals.schedule.cron",
        **dict.fromkeys(("RanSuite", "run_due"), "evals.schedule.due"),
        **dict.fromkeys(
            ("Schedule", "add_schedule", "all_schedules", "pause_schedule", "remove_schedule", "resume_schedule"),
            "evals.schedule.schedules",
        ),
        **dict.fromkeys(("Server", "all_servers"), "evals.schedule.servers"),
    },
)
