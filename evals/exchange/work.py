"""One imported site on its way through a rescoring."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analyzers.errors import Failed
from analyzers.evidence import Excerpt, Split
from analyzers.sites import Polarity
from evals.exchange.explanations import candidates, missing
from evals.exchange.held_out import deal
from evals.exchange.record import Feature, Told
from evals.site_scores import Simulations, SiteScores

NONE_TO_LEND = Failed("shuffle", "no other site has an explanation with another text")


@dataclass
class Work:
    """One site on its way."""

    feature: Feature
    dealt: Mapping[Split, tuple[Excerpt, ...]]
    told: list[Told]
    """Explanations to choose from."""
    select_scores: list[float | Failed] = field(default_factory=list)
    chosen: Told | None = None
    shuffled: str | Failed = NONE_TO_LEND
    simulations: Simulations | None = None
    scores: SiteScores | None = None
    failures: list[Failed] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, Polarity]:
        """Site and side, as the tables have them."""
        return self.feature.site, self.feature.polarity

    @property
    def can_be_scored(self) -> bool:
        return not self.failures


def work_of(feature: Feature, most: int) -> Work:
    """The work on a site; `most`: records that are scored. What cannot be scored has failed from the start.

    The works of all sites are in memory together, as the sites were when they were imported (`options.MOST_HELD`), with half as much again
    for the excerpts.
    """
    work = Work(feature, deal(feature, most=most), candidates(feature.told))
    unexplained = missing(feature.told)
    if unexplained is not None:
        work.failures.append(unexplained)
    elif not feature.records:
        work.failures.append(Failed("evidence", "the data has no records of it to score on"))
    elif all(record.peak == 0 for record in feature.records):
        work.failures.append(Failed("evidence", "it does not fire in any of its records: a dead site"))
    elif not work.dealt["test"]:
        shown = sum(record.shown for record in feature.records)
        work.failures.append(Failed("evidence", f"all {len(feature.records)} records were shown ({shown}) or repeat one that was"))
    return work
