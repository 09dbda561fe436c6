"""The results database: what run folders hold, indexed for comparison over time and for pages; with schedules, baselines and alerts."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from evals.database.database import Database
    from evals.database.open import open_database
    from evals.database.rows import MetricRow, Page, Reindexed, RunRow, SiteRow

__all__ = ["Database", "MetricRow", "Page", "Reindexed", "RunRow", "SiteRow", "open_database"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Database": "evals.database.database",
        "open_database": "evals.database.open",
        **dict.fromkeys(("MetricRow", "Page", "Reindexed", "RunRow", "SiteRow"), "evals.database.rows"),
    },
)
