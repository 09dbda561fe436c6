"""Suites: tasks over the commands label, audit and confidence that are run together, again and again."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from evals.suites.config import SuiteConfig, SuiteTask, load_suite
    from evals.suites.results import SuiteResults, TaskOutcome
    from evals.suites.run import next_folder, run_suite

__all__ = ["SuiteConfig", "SuiteResults", "SuiteTask", "TaskOutcome", "load_suite", "next_folder", "run_suite"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("SuiteConfig", "SuiteTask", "load_suite"), "evals.suites.config"),
        **dict.fromkeys(("SuiteResults", "TaskOutcome"), "evals.suites.results"),
        **dict.fromkeys(("next_folder", "run_suite"), "evals.suites.run"),
    },
)
