"""Label the sites of a subject: candidates from `explain`, the best of them by `select`, scores beside controls on `test`.

Every reply of a language model is in the cache before it is used, so a run that dies is resumed by running it again: what was answered
is not asked again, and the rest is computed again to the same result.
"""

import asyncio
import gc
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from agents.explainers import EXPLAINERS
from agents.explanation import Explanation
from agents.llm import LLM
from agents.simulators import SIMULATORS, Simulator
from analyzers.errors import Failed, LimitReached, SubjectError
from analyzers.passes import open_pass
from analyzers.progress import Report, quiet
from analyzers.sites import Site
from analyzers.store import ActivationStore
from analyzers.subject import Subject
from evals.calls import Calls, doing
from evals.instrument import instrument
from evals.label_artefacts import write_evidence, write_outcome
from evals.label_config import LabelConfig, Limits, choose_sites
from evals.results import Instrument, RunResults
from evals.run_folder import RunFolder, Transcript
from evals.site_scores import Simulations, score_site, select_score
from evals.work import Work

T = TypeVar("T")
R = TypeVar("R")


async def label(config: LabelConfig, out: Path, *, limits: Limits, report: Report = quiet, tell: Callable[[str], None]) -> RunResults:
    """Label the configured sites into the run folder `out` and return what its results.json holds.

    tell: called with lines to show the user: the forecast before the first call, what to mind. Raises ExplicateError for what the user
    can mend and, after writing what there is, LimitReached where a limit kept sites from being scored.
    """
    with RunFolder(out, "label", config.model_dump(mode="json")) as folder:
        works = await _evidence(config, folder, report)
        write_evidence(folder.path, [work.evidence for work in works])
        async with Calls(limits, base_url=config.base_url, transcript=Transcript(folder.path / "transcript.jsonl")) as calls:
            tell(_forecast(works, config))
            explainer = await _explain(works, config, calls, folder, report)
            simulator, tested = await _simulate(works, config, calls, folder, report)
        results = write_outcome(folder, config, works, explainer=explainer, simulator=simulator, spent=calls.budget.spent, tested=tested)
    stopped = [failed for work in works for failed in work.failures if failed.stage == "budget"]
    if stopped:
        raise LimitReached(f"{stopped[0].reason}; {results.n_failed} sites are not scored. Everything is kept: raise the limit and go on")
    return results


def _forecast(works: Sequence[Work], config: LabelConfig) -> str:
    """What the run is about to ask, at most: what is in the cache costs nothing."""
    explain = 0 if config.explainer == "template" else len(works) * config.candidates
    simulate = 0
    if config.simulator != "lexical":
        for work in works:
            counts = {split: len(excerpts) for split, excerpts in work.evidence.splits.items()}
            simulate += (
                3 * counts["test"] + 2 * counts["calibrate"] + ((1 + config.candidates) * counts["select"] if config.candidates > 1 else 0)
            )
    return f"{len(works)} sites: up to {explain} explanations to ask for and {simulate} excerpts to simulate"


async def _evidence(config: LabelConfig, folder: RunFolder, report: Report) -> list[Work]:
    """Sample the subject, or open the pass that did, and collect the excerpts of every site; the subject is let go afterwards."""
    subject = Subject.load(
        config.subject, dtype=config.dtype, device=config.device, trust_remote_code=config.trust_remote_code, report=report
    )
    for name in config.sites:
        subject.check(Site.parse(name))
    store = open_pass(subject, config.corpus, tokens=config.tokens, excerpt_tokens=config.excerpt_tokens, seed=config.seed, report=report)
    folder.record({"subject": dict(subject.identity), "corpus": dict(store.blocks.info), "activations": str(store.folder)})
    sites = choose_sites(config, subject.neurons, store.dominant)
    works = []
    for done, site in enumerate(sites):
        stand_in = await _stand_in(site, subject, store, config.seed)
        works.append(Work(site, store.evidence(site, subject.token_text), stand_in))
        report("collect evidence", done + 1, len(sites))
    del subject, store
    gc.collect()
    return works


async def _stand_in(site: Site, subject: Subject, store: ActivationStore, seed: int) -> str:
    """A template explanation of some other neuron, drawn by seed and site so that it does not depend on the run's other sites."""
    rng = np.random.default_rng([seed, zlib.crc32(str(site).encode())])
    template = EXPLAINERS.create("template")
    for _ in range(100):
        layer = int(rng.integers(subject.layers))
        other = Site(layer, int(rng.integers(subject.neurons[layer])))
        (lent,) = await template.explain(store.evidence(other, subject.token_text).splits["explain"], candidates=1, seed=0)
        if isinstance(lent, Explanation) and other.name != site.name:
            return lent.text
    raise SubjectError(f"100 neurons of {subject.name!r} drawn at random do not fire at all on this corpus; sample more text with --tokens")


async def _explain(works: Sequence[Work], config: LabelConfig, calls: Calls, folder: RunFolder, report: Report) -> str:
    """Fill in the candidates of every site; returns the explainer's name."""
    llm = None if config.explainer == "template" else await calls.connect(config.explainer, "explainer")
    explainer = EXPLAINERS.create("template" if llm is None else config.style, llm)
    folder.record({"explainer": _identity(explainer.name, llm)})

    async def one(work: Work) -> list[Explanation | Failed]:
        if work.evidence.peak <= 0:
            return [Failed("explain", f"{work.site} never fires on the explain split: a dead side, or too little text")]
        excerpts = work.evidence.splits["explain"]
        with doing("explain", work.site, shown=[excerpt.key for excerpt in excerpts]):
            return await explainer.explain(excerpts, candidates=config.candidates, seed=config.seed)

    for work, outcome in zip(works, await each(works, one, "explain", report, calls.at_once(config.explainer)), strict=True):
        work.candidates = [outcome] if isinstance(outcome, Failed) else outcome
        work.failures += [candidate for candidate in work.candidates if isinstance(candidate, Failed)]
    await calls.close("explainer")
    return explainer.name


async def _simulate(
    works: Sequence[Work], config: LabelConfig, calls: Calls, folder: RunFolder, report: Report
) -> tuple[str, Instrument | None]:
    """Choose each site's explanation, simulate it and its controls, and score them; returns the simulator's name and how it did when
    tested."""
    llm = None if config.simulator == "lexical" else await calls.connect(config.simulator, "simulator")
    simulator = SIMULATORS.create("lexical") if llm is None else SIMULATORS.pick(llm)
    folder.record({"simulator": _identity(simulator.name, llm)})
    tested = await instrument(simulator, llm, seed=config.seed, report=report)
    has_prior = simulator.scale == "level"
    at_once = calls.at_once(config.simulator)

    async def choose(work: Work) -> None:
        await _choose(work, simulator, has_prior=has_prior)

    async def measure(work: Work) -> None:
        await _measure(work, simulator, has_prior=has_prior, seed=config.seed)

    chosen = await each(works, choose, "choose explanations", report, at_once)
    _lend(works, config.seed)
    measured = await each(works, measure, "simulate and score", report, at_once)
    for outcomes in (chosen, measured):
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Failed):
                work.failures.append(outcome)
    await calls.close("simulator")
    return simulator.name, tested


def _identity(name: str, llm: LLM | None) -> dict[str, str]:
    return {"name": name, **({} if llm is None else llm.identity)}


async def _choose(work: Work, simulator: Simulator, *, has_prior: bool) -> None:
    """Take the candidate that scores best on the select split; the first where there is one, or none can be scored."""
    candidates = [candidate for candidate in work.candidates if isinstance(candidate, Explanation)]
    if len(candidates) > 1:
        excerpts = work.evidence.splits["select"]
        with doing("select", work.site):
            null = await simulator.simulate("", excerpts) if has_prior else None
            outcomes = [await simulator.simulate(candidate.text, excerpts) for candidate in candidates]
        work.select_scores = [select_score(excerpts, outcome, null) for outcome in outcomes]
        best = max(enumerate(work.select_scores), key=lambda pair: (-2.0 if isinstance(pair[1], Failed) else pair[1], -pair[0]))
        work.chosen = candidates[best[0]]
    elif candidates:
        work.chosen = candidates[0]


def _lend(works: Sequence[Work], seed: int) -> None:
    """Give every site the explanation of another one with another text, for the shuffled control."""
    order = np.random.default_rng([seed, 2]).permutation(len(works))
    for position, index in enumerate(order):
        work = works[index]
        others = [works[order[(position + step) % len(works)]].chosen for step in range(1, len(works))]
        work.shuffled = next(
            (other.text for other in others if other is not None and work.chosen is not None and not _same(other.text, work.chosen.text)),
            work.stand_in,
        )


def _same(a: str, b: str) -> bool:
    return a.casefold().split() == b.casefold().split()


async def _measure(work: Work, simulator: Simulator, *, has_prior: bool, seed: int) -> None:
    """Simulate the chosen explanation and its controls on the excerpts that score it."""
    if work.chosen is None:
        return
    test, calibrate = work.evidence.splits["test"], work.evidence.splits["calibrate"]
    with doing("simulate", work.site):
        work.simulations = Simulations(
            calibrate=await simulator.simulate(work.chosen.text, calibrate),
            calibrate_null=await simulator.simulate("", calibrate) if has_prior else [],
            test=await simulator.simulate(work.chosen.text, test),
            test_null=await simulator.simulate("", test) if has_prior else [],
            shuffled=await simulator.simulate(work.shuffled, test),
        )
    work.scores = await score_site(work.evidence, work.chosen.text, work.simulations, has_prior=has_prior, seed=seed)


async def each(items: Sequence[T], do: Callable[[T], Awaitable[R]], what: str, report: Report, at_once: int) -> list[R | Failed]:
    """Do something for every item, some at once, in order; a limit that is met fails the items it stops, an error stops them all."""
    gate = asyncio.Semaphore(at_once)
    done = 0

    async def one(item: T) -> R | Failed:
        nonlocal done
        async with gate:
            try:
                return await do(item)
            except LimitReached as limit:
                return Failed("budget", str(limit))
            finally:
                done += 1
                report(what, done, len(items))

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
