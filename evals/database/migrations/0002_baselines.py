"""Baselines, and what alerts were last said."""

import sqlalchemy as sa

from evals.database.times import UtcTime


def upgrade(connection: sa.Connection) -> None:
    """Make the tables baseline and alert."""
    metadata = sa.MetaData()
    run = sa.Table("run", metadata, sa.Column("id", sa.Text, primary_key=True))
    baseline = sa.Table(
        "baseline",
        metadata,
        sa.Column("suite", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey(run.c.id, ondelete="CASCADE"), nullable=False),
        sa.Column("set_at", UtcTime, nullable=False),
    )
    alert = sa.Table(
        "alert",
        metadata,
        sa.Column("suite", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", UtcTime, nullable=False),
        sa.Column("last_run", sa.Text),
        sa.Column("fired_at", UtcTime),
    )
    metadata.create_all(connection, tables=[baseline, alert], checkfirst=False)
