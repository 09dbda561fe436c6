"""Every number of a run that can be watched, by the same names for all kinds of runs, and the items that it is of."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from evals.metrics.folder import items_of, kind_of, metrics_of
    from evals.metrics.metric import Better, Items, Key, Metric

__all__ = ["Better", "Items", "Key", "Metric", "items_of", "kind_of", "metrics_of"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("items_of", "kind_of", "metrics_of"), "evals.metrics.folder"),
        **dict.fromkeys(("Better", "Items", "Key", "Metric"), "evals.metrics.metric"),
    },
)
