"""Measure whether the confidence holds that a model states in its answers, by every way of asking, sampling and aggregating.

Only items whose true answer is known are asked about. Every reply is in the cache before it is used, so a run that dies goes on when it is
run again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from agents.confidences import PROMPTINGS
from agents.samplings import SAMPLINGS
from agents.self_explanations import ELICITATIONS, Asking
from analyzers.errors import ExplicateError, Failed, LimitReached
from analyzers.progress import Report, quiet
from evals.calls import Calls, Foretold, check_base_url, doing
from evals.code_version import code_hash
from evals.confidence.artefacts import write_items
from evals.confidence.config import ConfidenceConfig
from evals.confidence.deletion import FORM, deletion
from evals.confidence.forecast import forecast
from evals.confidence.results import ConfidenceResults, Deletion
from evals.confidence.scoring import Scored, how_they_ended, row, scored
from evals.confidence.work import Measured, Work
from evals.each import Stopped, drawn, each_open
from evals.label_config import Limits
from evals.results import Calls as CallsMade
from evals.results import Tokens
from evals.run_folder import RunFolder, Transcript, write_json
from evals.tasks.items import Items
from evals.tasks.task import Task


async def measure_confidence(
    config: ConfidenceConfig,
    out: Path,
    task: Task,
    items: Items,
    *,
    limits: Limits,
    report: Report = quiet,
    tell: Callable[[str], None],
    forecast_only: bool = False,
) -> ConfidenceResults:
    """Measure on the items of a task into the run folder `out`, and return what its results.json holds.

    tell: called with lines to show the user: the forecast before the run's questions. forecast_only: ask no more than what the model can
    do, and raise Foretold once the forecast is told. Raises ExplicateError for what the user can mend,
    and Stopped, after writing what there is, where a limit kept items from being done.
    """
    folder = RunFolder(out, "confidence", config.model_dump(mode="json"))
    folder.check()
    limits.check()
    check_base_url(config.base_url, config.model)
    works = drawn(_known(items), config.n, config.seed)
    transcript = Transcript()
    async with Calls(limits, base_url=config.base_url, transcript=transcript, report=report) as calls:
        llm = await calls.connect(config.model, "model", dtype=config.dtype, device=config.device)
        assert llm is not None
        measured = Measured(config, task, llm, list(dict.fromkeys(item.gold for item in items if item.gold is not None)))
        with folder:
            transcript.open(folder.path / "transcript.jsonl")
            folder.record(
                {
                    "version": version("explicate"),
                    "model": {"name": config.model, **llm.identity},
                    "task": {"name": task.name, "digest": task.digest, "items": items.digest, "duplicates": items.duplicates},
                    "prompts": _prompts(config),
                },
                latest={"code": code_hash()},
            )
            line, total = forecast(measured, works, calls)
            tell(line)
            if forecast_only:
                raise Foretold(total)
            at_once = calls.at_once(config.model)
            askings = await _prepare(measured, works)
            await each_open(works, partial(_ask, measured, askings), "ask", report, at_once)
            if config.deletion:
                await each_open(works, partial(_delete, measured), "delete", report, at_once)
            await calls.close("model")
            answers = {way: [scored(work.of(way[:2]), way[2], work.gold, task.labels) for work in works] for way in config.rows}
            spent = calls.budget.spent
            found = [
                row(way, [work.of(way[:2]) for work in works], answers[way], measured.replies(way[1]), seed=config.seed)
                for way in config.rows
            ]
            results = ConfidenceResults(
                rows=found,
                deletion=_deletion(config, works),
                replies=[how_they_ended(*way, [work.of(way) for work in works], measured.replies(way[1])) for way in config.ways],
                n_items=len(works),
                n_without_gold=sum(item.gold is None for item in items),
                void=all(one.void for one in found),
                calls=CallsMade(made=spent.made, cached=spent.cached),
                tokens=Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens),
                usd=spent.usd,
                unpriced=list(calls.budget.unpriced),
                manifest=dict(folder.manifest),
            )
            write_items(folder.path, works, _by_item(answers, len(works)), measured, askings)
            write_json(folder.path / "results.json", results.model_dump(mode="json"))
    limit = next((work.failed.reason for work in works if work.failed is not None and work.failed.stage == "budget"), None)
    if limit is not None:
        stopped = sum(work.failed is not None and work.failed.stage == "budget" for work in works)
        raise Stopped(f"{limit}. {stopped} of {len(works)} items are not done", results)
    return results


def _known(items: Items) -> list[Work]:
    """Items whose true answer is known, in their order."""
    known = [Work(item, item.gold) for item in items if item.gold is not None]
    if not known:
        raise ExplicateError(
            f"none of the {len(items)} items of {items.source!r} has a true answer, and a confidence is right or wrong only beside one: "
            'give items with a field called gold, label or answer, or name the field in the task: gold = "..."'
        )
    return known


def _prompts(config: ConfidenceConfig) -> dict[str, str]:
    """Hashes of all prompt files that are used."""
    used = [prompt for name in config.prompting for prompt in PROMPTINGS.get(name).prompts]
    used += [prompt for name in config.sampling for prompt in SAMPLINGS.get(name).prompts]
    used += [ELICITATIONS.get(FORM).prompt] if config.deletion else []
    return {prompt.name: prompt.hash for prompt in used}


async def _prepare(measured: Measured, works: Sequence[Work]) -> dict[str, Sequence[Asking] | Failed]:
    """By sampling strategy: how the question is put in every reply. A limit fails all items."""
    found: dict[str, Sequence[Asking] | Failed] = {}
    config, llm = measured.config, measured.llm
    for name in config.sampling:
        sampling = SAMPLINGS.get(name)
        try:
            with doing("prepare", name):
                replies = await llm.answer(sampling.preparation(llm, measured.asking, config.samples, config.seed))
        except LimitReached as limit:
            for work in works:
                work.failed = Failed("budget", str(limit))
            return found
        found[name] = sampling.askings(llm, measured.asking, measured.replies(name), replies)
    return found


async def _ask(measured: Measured, askings: Mapping[str, Sequence[Asking] | Failed], work: Work) -> None:
    """Ask for answers and confidences in every way."""
    asked = measured.asked(work, askings)
    for name in measured.config.prompting:
        ways = [way for way in measured.config.ways if way[0] == name]
        together = [one for _, sampling in ways if not isinstance(some := asked[sampling], Failed) for one in some]
        with doing("state", f"{name} {work.item.number}"):
            outcomes = iter(await PROMPTINGS.get(name)(measured.llm, together))
        for way in ways:
            wanted = asked[way[1]]
            work.outcomes[way] = wanted if isinstance(wanted, Failed) else [next(outcomes) for _ in wanted]


async def _delete(measured: Measured, work: Work) -> None:
    """Ask again without some of the words."""
    work.deleted = await measured.deleting(measured.units(work), work.item.number)


def _deletion(config: ConfidenceConfig, works: Sequence[Work]) -> Deletion | None:
    if not config.deletion:
        return None
    found = [work.deleted or work.failed or Failed("delete", "not asked") for work in works]
    return deletion(config.prompting[0], found, seed=config.seed)


def _by_item(
    answers: Mapping[tuple[str, str, str], Sequence[Scored | Failed]], items: int
) -> list[dict[tuple[str, str, str], Scored | Failed]]:
    return [{way: found[at] for way, found in answers.items()} for at in range(items)]
