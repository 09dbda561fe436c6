"""Suites: tasks over the commands label, audit and confidence that are run together, again and again."""

from evals.suites.config import KINDS, SuiteConfig, SuiteTask, load_suite
from evals.suites.results import SuiteResults, TaskOutcome
from evals.suites.run import next_folder, run_suite

__all__ = ["KINDS", "SuiteConfig", "SuiteResults", "SuiteTask", "TaskOutcome", "load_suite", "next_folder", "run_suite"]
