"""One site on its way through a labelling run."""

from dataclasses import dataclass, field

from agents.explanation import Explanation
from analyzers.errors import Failed
from analyzers.evidence import Evidence
from analyzers.sites import Site
from evals.site_scores import Simulations, SiteScores


@dataclass
class Work:
    """What is known of one site so far."""

    site: Site
    evidence: Evidence
    stand_ins: tuple[str, ...]
    """Explanations of other neurons, made without a language model: the shuffled control where the run has no other to lend."""
    candidates: list[Explanation | Failed] = field(default_factory=list)
    select_scores: list[float | Failed] = field(default_factory=list)
    """Of the candidates that are explanations; empty where there was nothing to choose."""
    chosen: Explanation | None = None
    shuffled: str | Failed = ""
    """The explanation of another site, which this one is scored on as a control."""
    simulations: Simulations | None = None
    scores: SiteScores | None = None
    failures: list[Failed] = field(default_factory=list)
