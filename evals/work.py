"""One site on its way through a labelling run."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.explanation import Explanation
from analyzers.errors import Failed
from analyzers.evidence import Evidence, Excerpt
from analyzers.sites import Site
from evals.site_scores import Simulations, SiteScores

if TYPE_CHECKING:
    from agents.experimenter import Experimented
    from evals.judging import Said
    from evals.scoring.material import Material


@dataclass
class Work:
    """What is known of one site so far."""

    site: Site
    evidence: Evidence
    stand_ins: tuple[str, ...]
    """Explanations of other neurons, made without a language model: the shuffled control where the run has no other to lend."""
    pool: tuple[Excerpt, ...] = ()
    """Further excerpts of the explain split, for an explainer that experiments."""
    candidates: list[Explanation | Failed] = field(default_factory=list)
    select_scores: list[float | Failed] = field(default_factory=list)
    """Of the candidates that are explanations; empty where there was nothing to choose."""
    chosen: Explanation | None = None
    shuffled: str | Failed = ""
    """The explanation of another site, which this one is scored on as a control."""
    simulations: Simulations | None = None
    scores: SiteScores | None = None
    said: "dict[str, Said | Failed]" = field(default_factory=dict)
    """By name of a scorer: what it answered."""
    material: "Material | None" = None
    """What scorers judge on; None where there are none."""
    experimented: "Experimented | None" = None
    """How an explainer that experiments came to its explanation."""
    failures: list[Failed] = field(default_factory=list)
