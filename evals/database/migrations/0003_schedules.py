"""Schedules, and the servers that run them."""

import sqlalchemy as sa

from evals.database.times import UtcTime


def upgrade(connection: sa.Connection) -> None:
    """Make the tables schedule and server."""
    metadata = sa.MetaData()
    schedule = sa.Table(
        "schedule",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("suite_file", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("cron", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("grace_s", sa.Integer, nullable=False),
        sa.Column("next_due", UtcTime),
        sa.Column("last_due", UtcTime),
        sa.Column("last_run_id", sa.Text),
        sa.Column("last_status", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", UtcTime),
        sa.Column("heartbeat", UtcTime),
    )
    sa.Index("schedule_by_due", schedule.c.next_due)
    sa.Table(
        "server",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", UtcTime, nullable=False),
        sa.Column("heartbeat", UtcTime, nullable=False),
    )
    metadata.create_all(connection, checkfirst=False)
