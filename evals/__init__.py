"""What measures agents and analyzers: labelling runs, scores, controls, statistics, the selftest, results."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from evals.label_config import LabelConfig, Limits
    from evals.results import Failure, Instrument, Lift, RunResults, SiteResult, Value

__all__ = ["Failure", "Instrument", "LabelConfig", "Lift", "Limits", "RunResults", "SiteResult", "Value"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("LabelConfig", "Limits"), "evals.label_config"),
        **dict.fromkeys(("Failure", "Instrument", "Lift", "RunResults", "SiteResult", "Value"), "evals.results"),
    },
)
