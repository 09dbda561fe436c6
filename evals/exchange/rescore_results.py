"""results.json of an imported run that was rescored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.budget import Budget
from agents.simulators import Simulator
from analyzers.errors import Failed
from evals.cautions import cautions
from evals.exchange.audit import audit_imported
from evals.exchange.config import RescoreConfig
from evals.exchange.importing import described
from evals.exchange.problems import problems_of, problems_of_all
from evals.exchange.results import ImportedResults, ImportedSite
from evals.exchange.work import Work
from evals.label_artefacts import MOST_FAILED, means_of
from evals.results import Calls, Candidate, Instrument, Tokens, Value, failure, headline
from evals.statistics import benjamini_hochberg


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
    for site, q_value in zip(sites, benjamini_hochberg([site.p_value for site in sites]), strict=True):
        site.q_value = q_value
    for site in sites:
        site.warning = " ".join(caution.text for caution in cautions(site, tested)) or None
        site.cannot_judge = [] if tested is None else tested.cannot_judge
    scored = [site for site in sites if isinstance(site.scores.get(headline(site.scores)), Value)]
    spent = budget.spent
    return ImportedResults(
        sites=sites,
        problems=[*(problem for feature in features for problem in problems_of(feature)), *problems_of_all(features)],
        n_scored=len(scored),
        n_failed=len(sites) - len(scored),
        void=len(sites) - len(scored) > MOST_FAILED * len(sites),
        calls=Calls(made=spent.made, cached=spent.cached),
        tokens=Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens),
        usd=spent.usd,
        unpriced=list(budget.unpriced),
        leak_audit=audit_imported(run),
        instrument=tested,
        means=means_of(scored, config.seed),
        manifest={**manifest, "config": {**manifest["config"], "simulator": config.simulator}},
    )


async def _site(work: Work, simulator: Simulator, seed: int) -> ImportedSite:
    """As it was imported, with what was scored."""
    site = await described(work.feature, seed=seed)
    missing = work.failures[-1] if work.failures else Failed("score", "not reached")
    chosen, scores = work.chosen, work.scores
    selected = work.select_scores or [Failed("select", "nothing to choose from")] * len(work.told)
    found: dict[str, Any] = {
        "simulator": simulator.name,
        "scores": {"pearson": failure(missing)},
        "lift": failure(missing),
        "failures": [failure(failed) for failed in work.failures],
        "candidates": [
            Candidate(explanation=told.text, select_score=failure(score) if isinstance(score, Failed) else score)
            for told, score in zip(work.told, selected, strict=True)
        ],
    }
    if chosen is not None:
        found |= {"explanation": chosen.text, "explainer": chosen.by, "published": dict(chosen.published)}
    if scores is not None:
        found |= {
            "scores": scores.scores,
            "by_stratum": scores.by_stratum,
            "controls": scores.controls,
            "lift": scores.lift,
            "p_value": scores.p_value,
            "shuffled_explanation": work.shuffled if isinstance(work.shuffled, str) else None,
        }
    return site.model_copy(update=found)
