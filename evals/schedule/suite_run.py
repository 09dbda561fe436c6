"""What a schedule runs: a suite, in whole, with what follows it."""

from pathlib import Path
from typing import Literal

from analyzers.progress import Report
from evals.database import Database
from evals.schedule.work import Ended, Recorded, Run, Tell
from evals.suites.config import SuiteConfig, load_suite
from evals.suites.record import record
from evals.suites.results import SuiteResults
from evals.suites.run import Draw, run_suite


def suite_runner(draw: Draw | None = None) -> Run:
    """The usual one. draw: draws the page of a run folder of a kind."""

    async def run(suite_file: Path, folder: Path, *, report: Report, tell: Tell) -> Ended:
        suite = load_suite(suite_file)
        results = await run_suite(suite, folder, report=report, tell=tell, draw=draw)
        if draw is not None:
            draw("suite", folder)
        status, error = _ended(results)
        return Ended(status, error, lambda database: _recorded(suite, folder, database))

    return run


def _ended(results: SuiteResults) -> tuple[Literal["done", "failed", "stopped"], str | None]:
    wrong = [task for task in results.tasks if task.status != "done"]
    if not wrong:
        return "done", None
    said = "; ".join(f"{task.name} {task.status}: {task.failure.reason if task.failure else 'no reason given'}" for task in wrong)
    return ("failed" if any(task.status == "failed" for task in wrong) else "stopped"), said


def _recorded(suite: SuiteConfig, folder: Path, database: Database) -> Recorded:
    found = record(suite, folder, database)
    failed = [each.reason for each in found.alerted.failed]
    wrong = [found.problem] if found.problem else []
    wrong += [f"alerts not delivered: {'; '.join(failed)}"] if failed else []
    regressed = found.comparison is not None and bool(found.comparison.worse)
    return Recorded(found.run_id, regressed, "; ".join(wrong) or None)
