"""What can be computed from a model alone: subjects, sites, sampling passes, evidence."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from analyzers.errors import ExplicateError, Failed, LimitReached
    from analyzers.evidence import Evidence, Excerpt, Moments
    from analyzers.settings import Settings
    from analyzers.sites import Site
    from analyzers.store import ActivationStore
    from analyzers.subject import Subject

__all__ = [
    "ActivationStore",
    "Evidence",
    "Excerpt",
    "ExplicateError",
    "Failed",
    "LimitReached",
    "Moments",
    "Settings",
    "Site",
    "Subject",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("ExplicateError", "Failed", "LimitReached"), "analyzers.errors"),
        **dict.fromkeys(("Evidence", "Excerpt", "Moments"), "analyzers.evidence"),
        "Settings": "analyzers.settings",
        "Site": "analyzers.sites",
        "ActivationStore": "analyzers.store",
        "Subject": "analyzers.subject",
    },
)
