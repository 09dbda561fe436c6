"""Which run a user means: a run folder, or the id of a run in the results database."""

from collections.abc import Callable
from pathlib import Path

from analyzers.errors import ExplicateError
from evals.database import Database, RunRow


def located(run: str, database: Callable[[], Database]) -> Path:
    """The folder; the database is opened only for what is no folder. Raises ExplicateError where there is no such run."""
    return Path(run) if Path(run).is_dir() else Path(_by_id(run, database()).folder)


def recorded(run: str, database: Database) -> RunRow:
    """The row in the database, into which a folder is imported for it. Raises ExplicateError where there is no such run."""
    if not Path(run).is_dir():
        return _by_id(run, database)
    found = database.run(database.add_run(Path(run)))
    assert found is not None
    return found


def baseline_folder(run: str, database: Database) -> Path:
    """That of the baseline which a run is to be held against; raises ExplicateError where there is none."""
    row = recorded(run, database)
    found = database.baseline(row.series)
    if found is None:
        raise ExplicateError(
            f"{row.series!r} has no baseline; give a run with --baseline, or set one for all to come: explicate baseline set RUN"
        )
    return Path(_by_id(found, database).folder)


def _by_id(run: str, database: Database) -> RunRow:
    found = database.run(run)
    if found is None:
        raise ExplicateError(
            f"{run!r} is no folder, and no id of a run in the database {database.where}; give a run folder, or the id that "
            "`explicate view` shows"
        )
    return found
