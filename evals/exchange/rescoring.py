"""Scores somebody else's explanations by the rules of this program: on records their explainer was not shown, beside controls.

Every reply of a language model is in the cache before it is used, so a rescoring that dies is resumed by the same command.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from agents.llm import LLM
from agents.simulators import SIMULATORS, Simulator
from analyzers.errors import Failed, LimitReached, RunFolderError
from analyzers.evidence import Evidence, Moments
from analyzers.progress import Report, quiet
from analyzers.sites import Site
from evals.calls import Calls, Foretold, check_base_url, doing
from evals.code_version import code_hash
from evals.each import Stopped, each
from evals.exchange.artefacts import write_excerpts, write_tables
from evals.exchange.config import RescoreConfig
from evals.exchange.kept import features_of
from evals.exchange.record import Feature
from evals.exchange.rescore_forecast import forecast
from evals.exchange.rescore_results import results_of
from evals.exchange.results import ImportedResults
from evals.exchange.work import NONE_TO_LEND, Work, work_of
from evals.instrument import instrument
from evals.label_config import Limits
from evals.results import Instrument
from evals.run_folder import RunFolder, Transcript, read_json, write_json
from evals.shuffled import lent
from evals.site_scores import best_of, score_site, select_scores, simulate_all

_NOWHERE = Site(0, 0)
"""Their names are no sites of this program's, and what scores a site looks at its splits alone."""


async def rescore(
    run: Path,
    config: RescoreConfig,
    *,
    limits: Limits,
    report: Report = quiet,
    tell: Callable[[str], None],
    forecast_only: bool = False,
) -> ImportedResults:
    """Score the explanations of an imported run in its folder and return what its results.json holds then.

    tell: called with lines to show the user. Raises ExplicateError for what the user can mend, Stopped, after writing what there is, where
    a limit kept sites from being scored, LimitReached where it left nothing to write, and Foretold where only the forecast is wanted.
    """
    limits.check()
    check_base_url(config.base_url, config.simulator)
    manifest = read_json(run / "manifest.json")
    if manifest.get("command") != "import" or not isinstance(manifest.get("config"), dict):
        raise RunFolderError(
            f"{str(run)!r} is a run of {manifest.get('command')!r}; only imported data is rescored: make it by `explicate import`"
        )
    works = [work_of(feature, config.records) for feature in features_of(run)]
    if not any(work.told for work in works):
        raise RunFolderError(
            f"{str(run)!r} has no explanation of any site, so there is nothing to score; import records together with explanations of them"
        )
    transcript = Transcript()
    async with Calls(limits, base_url=config.base_url, transcript=transcript, report=report) as calls:
        llm = await calls.connect(config.simulator, "simulator")
        simulator = SIMULATORS.create("lexical") if llm is None else SIMULATORS.pick(llm)
        with RunFolder(run, "import", manifest["config"]) as folder:
            transcript.open(run / "transcript.jsonl")
            identity = {"name": simulator.name, **({} if llm is None else llm.identity)}
            rescored = {**config.model_dump(mode="json"), "simulator": identity, "prompt": simulator.prompt}
            folder.record({}, latest={"code": code_hash(), "rescored": rescored})
            write_excerpts(run, ((*work.key, work.dealt) for work in works))
            line, total = forecast(works, simulator, llm, calls.budget)
            tell(line)
            if forecast_only:
                raise Foretold(total)
            tested = await _simulate(works, simulator, llm, config, calls, report)
            limit = next((failed.reason for work in works for failed in work.failures if failed.stage == "budget"), None)
            if limit is not None and not any(work.scores for work in works):
                raise LimitReached(f"{limit}. No site is scored yet")
            results = await results_of(run, works, simulator, config, calls.budget, tested, dict(folder.manifest))
            write_tables(run, results.sites, ((*work.key, work.dealt, work.simulations) for work in works if work.simulations is not None))
            write_json(run / "results.json", results.model_dump(mode="json"))
    if limit is not None:
        raise Stopped(f"{limit}. {results.n_failed} of {len(works)} sites are not scored", results)
    return results


async def _simulate(
    works: Sequence[Work], simulator: Simulator, llm: LLM | None, config: RescoreConfig, calls: Calls, report: Report
) -> Instrument | None:
    """Choose, lend, simulate and score; returns how the simulator did when tested."""
    open_ = [work for work in works if work.can_be_scored]
    if not open_:
        return None
    tested = await instrument(simulator, llm, seed=config.seed, report=report)
    at_once, has_prior = calls.at_once(config.simulator), llm is not None

    async def chosen(work: Work) -> None:
        await _choose(work, simulator, has_prior=has_prior)

    async def measured(work: Work) -> None:
        if work.can_be_scored:
            await _measure(work, simulator, has_prior=has_prior, seed=config.seed)

    await _each(open_, chosen, "select", report, at_once)
    _lend(works, config.seed)
    await _each(open_, measured, "simulate", report, at_once)
    return tested


async def _each(works: Sequence[Work], do: Callable[[Work], Awaitable[None]], what: str, report: Report, at_once: int) -> None:
    for work, outcome in zip(works, await each(works, do, what, report, at_once), strict=True):
        if isinstance(outcome, Failed):
            work.failures.append(outcome)


async def _choose(work: Work, simulator: Simulator, *, has_prior: bool) -> None:
    """Take the explanation that scores best on the select split; the first where there is one, or none can be scored."""
    if len(work.told) > 1:
        texts = [told.text for told in work.told]
        with doing("select", work.feature.key):
            work.select_scores = await select_scores(simulator, texts, work.dealt["select"], has_prior=has_prior)
    work.chosen = work.told[best_of(work.select_scores) if work.select_scores else 0]


def _lend(works: Sequence[Work], seed: int) -> None:
    """Give every site the explanation of another one, with another text; those that are not scored lend their first."""
    own = [None if work.chosen is None else work.chosen.text for work in works]
    lendable = [text if text is not None else next((told.text for told in work.told), None) for text, work in zip(own, works, strict=True)]
    for work, text in zip(works, lent(own, lendable, seed), strict=True):
        work.shuffled = NONE_TO_LEND if text is None else text


async def _measure(work: Work, simulator: Simulator, *, has_prior: bool, seed: int) -> None:
    """Simulate the explanation and its controls on the records that score it."""
    assert work.chosen is not None
    text, test, calibrate = work.chosen.text, work.dealt["test"], work.dealt["calibrate"]
    with doing("simulate", work.feature.key):
        work.simulations = await simulate_all(simulator, text, work.shuffled, test, calibrate, has_prior=has_prior)
    evidence = Evidence(_NOWHERE, work.dealt, _moments(work.feature))
    work.scores = await score_site(evidence, text, work.simulations, has_prior=has_prior, seed=seed)


def _moments(feature: Feature) -> Moments:
    """Over the records, which are no sample of the corpus."""
    values = np.concatenate([record.values for record in feature.records])
    return Moments(len(values), float(values.mean()), float(values.var()), feature.firing or 0.0)
