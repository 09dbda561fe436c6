"""Runs, with their metrics, sites and artefacts."""

import sqlalchemy as sa

from evals.database.times import UtcTime


def upgrade(connection: sa.Connection) -> None:
    """Make the tables run, metric, site and artefact."""
    metadata = sa.MetaData()

    def of_run() -> sa.Column[str]:
        return sa.Column("run_id", sa.Text, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)

    run = sa.Table(
        "run",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("parent", sa.Text, sa.ForeignKey("run.id", ondelete="CASCADE")),
        sa.Column("folder", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("series", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("void", sa.Boolean, nullable=False),
        sa.Column("started", UtcTime),
        sa.Column("finished", UtcTime, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("calls", sa.BigInteger),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("usd", sa.Float),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("searched", sa.Text, nullable=False),
        sa.Column("indexed_at", UtcTime, nullable=False),
    )
    sa.Index("run_by_parent", run.c.parent, run.c.finished, run.c.id)
    sa.Index("run_by_series", run.c.series, run.c.finished, run.c.id)
    sa.Table(
        "metric",
        metadata,
        of_run(),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("of", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("low", sa.Float),
        sa.Column("high", sa.Float),
        sa.Column("n", sa.Integer),
        sa.Column("n_failed", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text),
        sa.Column("failure", sa.Text),
        sa.Column("better", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    site = sa.Table(
        "site",
        metadata,
        of_run(),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("polarity", sa.Text, nullable=False),
        sa.Column("layer", sa.Integer, nullable=False),
        sa.Column("explanation", sa.Text),
        sa.Column("score", sa.Float),
        sa.Column("lift", sa.Float),
        sa.Column("q_value", sa.Float),
        sa.Column("failed", sa.Text),
        sa.Column("searched", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    sa.Index("site_by_name", site.c.run_id, site.c.site, site.c.polarity, unique=True)
    sa.Index("site_by_score", site.c.run_id, site.c.score.desc(), site.c.position)
    sa.Index("site_by_lift", site.c.run_id, site.c.lift.desc(), site.c.position)
    sa.Index("site_by_layer", site.c.run_id, site.c.layer)
    sa.Table(
        "artefact",
        metadata,
        of_run(),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    metadata.create_all(connection, checkfirst=False)
