"""What a user can mend, and what failed without ending the run.

ExplicateError          printed in one line, without traceback; exit code 2
├── AssetError          a model or corpus could not be fetched, or is not what it should be
├── CorpusError         a corpus is empty, binary or too short
├── SubjectError        a model or site that does not exist or cannot be read
├── ProviderError       a language model that cannot be reached or cannot do what is asked of it
└── RunFolderError      a run folder of another version or configuration
LimitReached            a limit the user set was met: stop cleanly, keep everything; exit code 4
"""

from dataclasses import dataclass


class ExplicateError(Exception):
    """Something the user can fix; the message names the thing, the allowed values and the remedy."""


class AssetError(ExplicateError):
    """A model or corpus could not be fetched, or is not what it should be."""


class CorpusError(ExplicateError):
    """A corpus is empty, binary or shorter than one excerpt."""


class SubjectError(ExplicateError):
    """A model or site that does not exist or cannot be read."""


class ProviderError(ExplicateError):
    """A language model that cannot be reached, or cannot do what is asked of it."""


class RunFolderError(ExplicateError):
    """A run folder of another version or configuration."""


class LimitReached(Exception):
    """A limit on calls, tokens or money was met; what was done is kept."""


@dataclass(frozen=True)
class Failed:
    """A result that does not exist, and why; it never stands in for a number."""

    stage: str
    """Where it failed: explain, simulate, score, ..."""
    reason: str
