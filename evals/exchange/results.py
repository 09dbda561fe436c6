"""results.json of imported data: that of a labelling run, with the scores that were published and the problems found in the data."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.results import RunResults, SiteResult

ProblemKind = Literal[
    "dead",
    "documents-unknown",
    "duplicates",
    "failed-answers",
    "inconsistent",
    "leak",
    "near-duplicates",
    "no-explanation",
    "no-records",
    "refusal",
    "same-explanation",
    "shown-unknown",
    "undefined-score",
    "unparsed-explanation",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Problem(_Model):
    """Something in the data that its scores do not show."""

    kind: ProblemKind
    site: str
    """The site, with a - for its negative side; empty for what is of the whole."""
    what: str
    """One sentence."""
    n: int
    """How many records, texts, explanations or sites it is about."""


class Published(_Model):
    """An explanation of a site as it came."""

    explanation: str
    by: str
    published: dict[str, float | None]
    """Its scores by their own names; None where theirs is undefined."""
    n_scored: int
    """Texts that those scores are known to be of."""


class ImportedSite(SiteResult):
    """A site of other data; `scores` and all that follows from them are failures until it is rescored."""

    model: str = ""
    shown_known: bool = False
    """Whether it is known which records the explainer was shown: those of the explain split, or else only the look-ups learn from that."""
    published: dict[str, float | None] = Field(default_factory=dict)
    """The scores that came with `explanation`."""
    explanations: list[Published] = Field(default_factory=list)
    """All explanations that came."""
    n_records: int = 0
    n_distinct: int = 0
    """Records without copies."""


class ImportedResults(RunResults):
    """results.json"""

    sites: list[ImportedSite]  # type: ignore[assignment]  # narrower, and nobody puts other sites into it
    problems: list[Problem] = Field(default_factory=list)
