"""Label the sites of a subject: candidates from `explain`, the best of them by `select`, scores beside controls on `test`.

Every reply of a language model is in the cache before it is used, so a run that dies is resumed by running it again: what was answered
is not asked again, and the rest is computed again to the same result.
"""

import functools
import gc
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from agents.explanation import Explanation
from agents.llm import LLM
from agents.simulators import Simulator
from analyzers.errors import Failed, LimitReached
from analyzers.passes import open_blocks
from analyzers.progress import Report, quiet
from analyzers.sites import Site
from analyzers.subject import Subject
from evals.calls import BATCHED, Calls, Foretold, budget_of, check_base_url, check_batch, doing, sharing
from evals.code_version import code_hash
from evals.each import Stopped, each, together
from evals.forecast import forecast
from evals.instrument import instrument, instruments_of, scorer_test
from evals.judging import judge
from evals.label_artefacts import write_evidence, write_outcome
from evals.label_config import LabelConfig, Limits
from evals.label_models import Experimenter, Models, connect_models, sequential
from evals.label_sites import gather_further, load_subject, sample_sites
from evals.results import Instrument, RunResults
from evals.run_folder import RunFolder, Transcript, write_json
from evals.scoring.ensemble import members
from evals.selftest_scorers import ScorerTest
from evals.shuffled import lend
from evals.site_scores import best_of, score_site, select_scores, simulate_all
from evals.twins import twin_config, with_twins
from evals.work import Work

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "openai", "langchain", "langchain-openai")
"""Those whose versions can show in the numbers."""


async def label(
    config: LabelConfig, out: Path, *, limits: Limits, report: Report = quiet, tell: Callable[[str], None], forecast_only: bool = False
) -> RunResults:
    """Label the configured sites into the run folder `out`, then their twins, and return what its results.json holds.

    tell: called with lines to show the user: the forecast before the run's questions, what to mind. forecast_only: sample, and raise
    Foretold once the forecast is told. Raises ExplicateError for what the user can mend: whatever can be known before the sampling is
    told before it, and before the folder is made. Raises Stopped, after writing what there is, where a limit kept sites from being
    scored, and LimitReached where it left nothing to write.
    """
    if not config.twins:
        return await _label(config, out, limits=limits, report=report, tell=tell, forecast_only=forecast_only)
    limits.check()
    free = limits.unlimited()
    with sharing(budget_of(limits)):
        try:
            results = await _label(config, out, limits=free, report=report, tell=tell, forecast_only=forecast_only)
        except Foretold as told:
            tell(f"the twins ({', '.join(config.twins)}) take up to as much again, each")
            raise Foretold(sum((told.total for _ in config.twins), told.total)) from None
        sites = [Site.parse(site.site + ("-" if site.polarity == "-" else "")) for site in results.sites]
        for twin in config.twins:
            tell(f"twins: {twin}")
            try:
                of_twins = await _label(twin_config(config, twin, sites), out / "twins" / twin, limits=free, report=report, tell=tell)
            except LimitReached as limit:
                # The sites themselves are done and written.
                raise Stopped(f"{limit}. The twins {twin} are not all scored", results) from None
            results = with_twins(results, twin, of_twins, config.seed)
    write_json(out / "results.json", results.model_dump(mode="json"))
    return results


async def _label(
    config: LabelConfig, out: Path, *, limits: Limits, report: Report, tell: Callable[[str], None], forecast_only: bool = False
) -> RunResults:
    folder = RunFolder(out, "label", config.model_dump(mode="json"))
    folder.check()
    limits.check()
    check_base_url(config.base_url, config.explainer, config.simulator)
    check_batch(limits.batch, config.explainer, config.simulator)
    transcript = Transcript()
    async with Calls(limits, base_url=config.base_url, transcript=transcript, report=report) as calls:
        models = await connect_models(config, calls)
        subject: Subject | None = load_subject(config, report)
        assert subject is not None
        blocks = open_blocks(
            subject, config.corpus, tokens=config.tokens, excerpt_tokens=config.excerpt_tokens, seed=config.seed, report=report
        )
        with folder:
            transcript.open(folder.path / "transcript.jsonl")
            code, before = code_hash(), folder.manifest.get("code")
            if before not in (None, code):
                tell(
                    f"{str(out)!r} was last written by other code ({before}, now {code}): what was sampled and answered is kept, "
                    "all else is computed again by this code"
                )
            folder.record(
                {
                    "version": version("explicate"),
                    "subject": dict(subject.identity),
                    "corpus": dict(blocks.info),
                    "explainer": _identity(models.explainer.name, models.explains),
                    "simulator": _identity(models.simulator.name, models.simulates),
                    "prompts": {
                        "explainer": models.explainer.prompt,
                        "simulator": models.simulator.prompt,
                        **{name: scorer.prompt for name, scorer in models.scorers.items()},
                    },
                },
                latest={"code": code, "packages": {name: version(name) for name in PACKAGES}},
            )
            sampled = await sample_sites(subject, blocks, config, report)
            folder.record({"pass": sampled.folder})
            works = sampled.works
            experiments, scores = isinstance(models.explainer, Experimenter), bool(models.scorers)
            if experiments or scores:
                gather_further(sampled, subject, blocks, config, report, experiments=experiments, scores=scores)
            else:
                subject = None
                gc.collect()
            write_evidence(folder.path, works)
            line, total = forecast(
                works,
                config,
                explainer=models.explainer,
                explains=models.explains,
                simulator=models.simulator,
                simulates=models.simulates,
                scorers=models.scorers,
                budget=calls.budget,
            )
            tell(line)
            if forecast_only:
                raise Foretold(total)
            await _explain(works, models, subject, config, calls, report)
            batched = limits.batch and config.simulator.startswith(BATCHED)
            tested, instruments = await _score(works, models, config, calls, report, batched=batched)
            await calls.close("simulator")
            limit = next((failed.reason for work in works for failed in work.failures if failed.stage == "budget"), None)
            if limit is not None and not any(work.scores for work in works):
                raise LimitReached(f"{limit}. No site is scored yet")
            explainer, simulator = models.explainer.name, models.simulator.name
            results = write_outcome(
                folder,
                config,
                works,
                explainer=explainer,
                simulator=simulator,
                scorers=models.scorers,
                budget=calls.budget,
                tested=tested,
                instruments=instruments,
            )
    if limit is not None:
        raise Stopped(f"{limit}. {results.n_failed} of {len(works)} sites are not scored", results)
    return results


async def _explain(
    works: Sequence[Work], models: Models, subject: Subject | None, config: LabelConfig, calls: Calls, report: Report
) -> None:
    """Fill in the candidates of every site."""

    async def one(work: Work) -> list[Explanation | Failed]:
        if work.evidence.peak <= 0:
            return [Failed("explain", f"{work.site} never fires on the explain split: a dead side, or too little text")]
        excerpts = [*work.evidence.splits["explain"], *work.pool]
        with doing("explain", work.site, shown=[excerpt.key for excerpt in excerpts]):
            if isinstance(models.explainer, Experimenter):
                assert subject is not None
                return [await models.explainer.experiment(work, models.simulator, subject, config)]
            return await models.explainer.explain(excerpts, candidates=config.candidates, seed=config.seed)

    for work, outcome in zip(works, await each(works, one, "explain", report, calls.at_once(config.explainer)), strict=True):
        work.candidates = [outcome] if isinstance(outcome, Failed) else outcome
        work.failures += [candidate for candidate in work.candidates if isinstance(candidate, Failed)]
    await calls.close("explainer")


async def _score(
    works: Sequence[Work], models: Models, config: LabelConfig, calls: Calls, report: Report, *, batched: bool
) -> tuple[Instrument | None, dict[str, Instrument]]:
    """Choose each site's explanation, simulate it and its controls, score them, and have the scorers say what they think of them; returns
    how the simulator and each scorer did when tested.

    batched: a reply may take a day, so that all that waits for no other is asked at the same time.
    """
    if not any(isinstance(candidate, Explanation) for work in works for candidate in work.candidates):
        return None, {}
    simulator, scorers = models.simulator, sequential(models.scorers, config.enough)
    has_prior = simulator.scale == "level"
    at_once = calls.at_once(config.simulator)
    tested: list[Instrument] = []
    tests: dict[str, ScorerTest] = {}

    async def test() -> None:
        tested.append(await instrument(simulator, models.simulates, seed=config.seed, report=report))

    async def choose() -> None:
        await _every(works, lambda work: _choose(work, simulator, has_prior=has_prior), "choose explanations", report, at_once)

    async def measure() -> None:
        measured = functools.partial(_measure, simulator=simulator, has_prior=has_prior, seed=config.seed)
        await _every(works, measured, "simulate and score", report, at_once)

    async def test_scorer(name: str) -> None:
        try:
            tests[name] = await scorer_test(name, models.scorers[name], models.simulates, seed=config.seed, report=report)
        except LimitReached as limit:
            # What was simulated is scored: the run ends with it, and says why it ends.
            for work in works:
                work.failures.append(Failed("budget", str(limit)))

    async def judge_by(name: str) -> None:
        await judge(works, {name: scorers[name]}, lent=len(members(scorers)) > 1, seed=config.seed, report=report, at_once=at_once)

    if batched:
        await together(test(), *map(test_scorer, scorers), choose())
        lend(works, config.seed)
        await together(measure(), *map(judge_by, scorers))
    else:
        await test()
        await choose()
        lend(works, config.seed)
        await measure()
        if any(work.chosen is not None for work in works):
            for do in (test_scorer, judge_by):
                for name in scorers:
                    await do(name)
    for work in works:
        work.said = {name: work.said[name] for name in scorers if name in work.said}
    return tested[0], instruments_of(tests, models.scorers, config.seed)


async def _every(works: Sequence[Work], do: Callable[[Work], Awaitable[None]], what: str, report: Report, at_once: int) -> None:
    """Do something for every site, and note down a limit that kept it from being done."""
    for work, outcome in zip(works, await each(works, do, what, report, at_once), strict=True):
        if isinstance(outcome, Failed):
            work.failures.append(outcome)


def _identity(name: str, llm: LLM | None) -> dict[str, str]:
    return {"name": name, **({} if llm is None else llm.identity)}


async def _choose(work: Work, simulator: Simulator, *, has_prior: bool) -> None:
    """Take the candidate that scores best on the select split; the first where there is one, or none can be scored."""
    candidates = [candidate for candidate in work.candidates if isinstance(candidate, Explanation)]
    if len(candidates) > 1:
        excerpts = work.evidence.splits["select"]
        with doing("select", work.site):
            texts = [candidate.text for candidate in candidates]
            work.select_scores = await select_scores(simulator, texts, excerpts, has_prior=has_prior)
        work.chosen = candidates[best_of(work.select_scores)]
    elif candidates:
        work.chosen = candidates[0]


async def _measure(work: Work, simulator: Simulator, *, has_prior: bool, seed: int) -> None:
    """Simulate the chosen explanation and its controls on the excerpts that score it."""
    if work.chosen is None:
        return
    test, calibrate = work.evidence.splits["test"], work.evidence.splits["calibrate"]
    with doing("simulate", work.site):
        work.simulations = await simulate_all(simulator, work.chosen.text, work.shuffled, test, calibrate, has_prior=has_prior)
    work.scores = await score_site(work.evidence, work.chosen.text, work.simulations, has_prior=has_prior, seed=seed)
