"""What follows a run of a suite: it is entered into the results database, held against the suite's baseline, and changes are told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzers.errors import RunFolderError
from evals.alerts import Alerted, alert
from evals.comparison import Comparison, compare
from evals.database import Database
from evals.suites.config import SuiteConfig


@dataclass(frozen=True)
class Recorded:
    """A run in the database."""

    run_id: str
    baseline: str | None
    """Id of the run that it was held against; None where the suite has no baseline."""
    comparison: Comparison | None = None
    """None where there is no baseline, or the run itself is it."""
    alerted: Alerted = field(default_factory=lambda: Alerted([], []))
    problem: str | None = None
    """Why it could not be held against its baseline."""

    def summary(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": self.run_id,
            "baseline": self.baseline,
            "regressed": [] if self.comparison is None else [change.model_dump(mode="json") for change in self.comparison.worse],
            "events": [event.model_dump(mode="json") for event in self.alerted.events],
            "not_compared": self.problem,
            "not_told": [failed.reason for failed in self.alerted.failed],
        }


def record(suite: SuiteConfig, folder: Path, database: Database) -> Recorded:
    """Enter a suite's run and those of its tasks into the database, hold it against the suite's baseline, and tell of what is new.

    Raises ExplicateError where the database or the run folder cannot be read. A baseline that cannot be read is a `problem`; whoever cannot
    be told is among `alerted`.
    """
    run_id = database.add_run(folder)
    baseline = database.baseline(suite.name)
    row = None if baseline is None else database.run(baseline)
    if row is None or baseline == run_id:
        return Recorded(run_id, baseline)
    try:
        comparison = compare(folder, Path(row.folder), thresholds=suite.thresholds, alpha=suite.alpha)
    except RunFolderError as error:
        return Recorded(run_id, baseline, problem=f"not held against the baseline: {error}; or set another: explicate baseline set RUN")
    return Recorded(run_id, baseline, comparison, alert(database, suite.alerts, suite.name, comparison, run=run_id))
