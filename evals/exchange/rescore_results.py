"""results.json of an imported run that was rescored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.budget import Budget
from agents.simulators import Simulator
from evals.exchange.audit import audit_imported
from evals.exchange.config import RescoreConfig
from evals.exchange.importing import described
from evals.exchange.problems import problems_of, problems_of_all
from evals.exchange.results import ImportedResults, ImportedSite
from evals.exchange.work import Work
from evals.label_artefacts import judge_together, of_all, of_site
from evals.results import Instrument

SHOWN_UNKNOWN = "It is not known which records its explainer was shown: some of those that are scored may be among them."


async def results_of(
    run: Path,
    works: Sequence[Work],
    simulator: Simulator,
    config: RescoreConfig,
    budget: Budget,
    tested: Instrument | None,
    manifest: dict[str, Any],
) -> ImportedResults:
    """Of all sites, scored or not, with the audit of what lies in the folder."""
    features = [work.feature for work in works]
    sites = [await _site(work, simulator, config.seed) for work in works]
    judge_together(sites, tested)
    for site, work in zip(sites, works, strict=True):
        if work.scores is not None and not work.feature.shown_known:
            site.warning = " ".join(part for part in (site.warning, SHOWN_UNKNOWN) if part)
    return ImportedResults(
        sites=sites,
        problems=[*(problem for feature in features for problem in problems_of(feature)), *problems_of_all(features)],
        leak_audit=audit_imported(run),
        manifest={**manifest, "config": {**manifest["config"], "simulator": config.simulator}},
        **of_all(sites, tested, budget, config.seed),
    )


async def _site(work: Work, simulator: Simulator, seed: int) -> ImportedSite:
    """As it was imported, with what was scored; the look-ups as they were where it was not."""
    site = await described(work.feature, seed=seed)
    found = of_site(work.scores, [told.text for told in work.told], work.select_scores, work.shuffled, work.failures)
    found |= {"simulator": simulator.name, "controls": found["controls"] or site.controls}
    if work.chosen is not None:
        found |= {"explanation": work.chosen.text, "explainer": work.chosen.by, "published": dict(work.chosen.published)}
    return site.model_copy(update=found)
