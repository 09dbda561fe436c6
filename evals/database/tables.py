"""The tables of the results database as the newest migration leaves them, for SQLite and PostgreSQL alike.

What `run`, `metric`, `site` and `artefact` hold is in the run folders, too, and can be imported again; `baseline`, `alert` and `schedule`
exist only here.
"""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

from evals.database.times import UtcTime

metadata = MetaData()


def _of_run() -> Column[str]:
    return Column("run_id", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),  # of the folder's absolute path: rows.run_id
    Column("parent", Text, ForeignKey("run.id", ondelete="CASCADE")),  # the suite's run that this one is a task of
    Column("folder", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # label, audit, confidence, suite
    Column("name", Text, nullable=False),  # of the suite, of the task, or of the folder
    Column("suite", Text, nullable=False),  # empty for a run of its own
    Column("series", Text, nullable=False),  # what its history and baseline go by: rows.RunRow
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),  # done, failed, stopped
    Column("void", Boolean, nullable=False),
    Column("started", UtcTime),
    Column("finished", UtcTime, nullable=False),
    Column("code", Text),
    Column("version", Text),
    Column("calls", BigInteger),
    Column("tokens", BigInteger),
    Column("usd", Float),
    Column("provenance", JSON, nullable=False),
    Column("searched", Text, nullable=False),  # what a search looks through, case folded
    Column("indexed_at", UtcTime, nullable=False),
)
Index("run_by_parent", run.c.parent, run.c.finished, run.c.id)
Index("run_by_series", run.c.series, run.c.finished, run.c.id)

metric = Table(
    "metric",
    metadata,
    _of_run(),
    Column("task", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("of", Text, primary_key=True),
    Column("position", Integer, nullable=False),  # in the order of the run's results
    Column("value", Float),
    Column("low", Float),
    Column("high", Float),
    Column("n", Integer),
    Column("n_failed", Integer, nullable=False),
    Column("stage", Text),  # where it failed: exactly where there is no value
    Column("failure", Text),  # and why
    Column("better", Text, nullable=False),  # higher, lower, or empty
    sqlite_with_rowid=False,
)

site = Table(
    "site",
    metadata,
    _of_run(),
    Column("position", Integer, primary_key=True),  # in the order of the run's results
    Column("site", Text, nullable=False),
    Column("polarity", Text, nullable=False),
    Column("layer", Integer, nullable=False),
    Column("explanation", Text),
    Column("score", Float),
    Column("lift", Float),
    Column("q_value", Float),
    Column("failed", Text),  # why there is no explanation or no score
    Column("searched", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("site_by_name", site.c.run_id, site.c.site, site.c.polarity, unique=True)
Index("site_by_score", site.c.run_id, site.c.score.desc(), site.c.position)
Index("site_by_lift", site.c.run_id, site.c.lift.desc(), site.c.position)
Index("site_by_layer", site.c.run_id, site.c.layer)

artefact = Table(
    "artefact",
    metadata,
    _of_run(),
    Column("name", Text, primary_key=True),  # the file's path within the run's folder
    Column("path", Text, nullable=False),  # absolute
    sqlite_with_rowid=False,
)

baseline = Table(
    "baseline",
    metadata,
    Column("suite", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("set_at", UtcTime, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("suite", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("last_run", Text),
    Column("fired_at", UtcTime),
)

schedule = Table(
    "schedule",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("suite_file", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("grace_s", Integer, nullable=False),
    Column("next_due", UtcTime),
    Column("last_due", UtcTime),
    Column("last_run_id", Text),
    Column("last_status", Text),
    Column("last_error", Text),
    Column("claimed_by", Text),
    Column("claimed_until", UtcTime),
    Column("heartbeat", UtcTime),
)
Index("schedule_by_due", schedule.c.next_due)

server = Table(
    "server",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", UtcTime, nullable=False),
    Column("heartbeat", UtcTime, nullable=False),
)
