"""Audit a model that can be asked: its explanations of its own answers, beside what perturbing the same texts does to these answers.

Every item is explained in every form and order that is asked for, then perturbed by every operator. What is wanted of one item under one
operator (single deletions, the orders of all explanations, random orders, the sets of further methods) is planned as one set of texts.
Every reply is in the cache before it is used, so a run that dies goes on when it is run again.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import cast

from agents.beliefs import Belief
from agents.free_answers import alike
from agents.llm import ChatReply
from agents.self_explanations import (
    ELICITATIONS,
    PROMPTS,
    Order,
    answered,
    elicit,
    elicited,
)
from analyzers.errors import ExplicateError, Failed, LimitReached
from analyzers.progress import Report, quiet
from evals.audit.checks import CHECKS, Checked
from evals.audit.config import ORACLE, AuditConfig
from evals.audit.forecast import forecast
from evals.audit.live_artefacts import write_items, write_perturbations
from evals.audit.perturbing import drifts, perturb
from evals.audit.results import Agreement, AuditResults, AuditSelftest, CheckResult, Metric, Replies
from evals.audit.rows import (
    Asked,
    ItemFigures,
    adjust,
    agreements,
    differences,
    missing,
    rows,
)
from evals.audit.selftest import selftest
from evals.audit.verdict import together, verdicts
from evals.audit.work import Audited, Group, Work
from evals.calls import Calls, Foretold, check_base_url, doing
from evals.code_version import code_hash
from evals.each import Stopped, drawn, each_open
from evals.label_config import Limits
from evals.results import Calls as CallsMade
from evals.results import Failure, Tokens, failure
from evals.run_folder import RunFolder, Transcript, write_json
from evals.statistics import benjamini_hochberg, mean
from evals.tasks.items import Items
from evals.tasks.task import Task

UNASKED = Failed("ask", "not asked")


async def audit(
    config: AuditConfig,
    out: Path,
    task: Task,
    items: Items,
    *,
    limits: Limits,
    report: Report = quiet,
    tell: Callable[[str], None],
    forecast_only: bool = False,
) -> AuditResults:
    """Audit the configured model on the items of a task into the run folder `out`, and return what its results.json holds.

    tell: called with lines to show the user: the forecast before the run's questions. forecast_only: ask no more than what the model can
    do, and raise Foretold once the forecast is told. Raises ExplicateError for what the user can mend,
    and Stopped, after writing what there is, where a limit kept items from being audited.
    """
    if task.unit == "demonstration":
        raise ExplicateError(
            f"the task {task.name!r} takes demonstrations away, and models are asked to explain their text: give it unit = word, or see "
            "what demonstrations do with `explicate attribute --task FILE --unit demonstration`"
        )
    folder = RunFolder(out, "audit", config.model_dump(mode="json"))
    folder.check()
    limits.check()
    check_base_url(config.base_url, config.model)
    works = [Work.of(item, task) for item in drawn(items, config.n, config.seed)]
    tested = selftest(seed=config.seed)
    transcript = Transcript()
    async with Calls(limits, base_url=config.base_url, transcript=transcript, report=report) as calls:
        llm = await calls.connect(config.model, "model", dtype=config.dtype, device=config.device)
        assert llm is not None
        audited = Audited(config, task, llm, config.reader(llm), [text for work in works for text in work.units.texts])
        with folder:
            transcript.open(folder.path / "transcript.jsonl")
            folder.record(
                {
                    "version": version("explicate"),
                    "model": {"name": config.model, **llm.identity},
                    "task": {"name": task.name, "digest": task.digest, "items": items.digest, "duplicates": items.duplicates},
                    "belief": audited.reader.name,
                    "prompts": {prompt.name: prompt.hash for prompt in PROMPTS}
                    | {name: ELICITATIONS.get(name).prompt.hash for name in config.elicit},
                },
                latest={"code": code_hash()},
            )
            if items.duplicates:
                tell(f"{items.duplicates} texts stand there more than once and are asked about once")
            line, total = await forecast(audited, works, calls, report)
            tell(line)
            if forecast_only:
                raise Foretold(total)
            at_once = calls.at_once(config.model)
            await each_open(works, partial(_explain, audited), "explain", report, at_once)
            await each_open(works, partial(perturb, audited), "perturb", report, at_once)
            checks, unchecked = await _check(audited, works, report)
            await calls.close("model")
            results = _results(audited, works, checks, tested, folder.manifest)
            spent = calls.budget.spent
            results = results.model_copy(
                update={
                    "calls": CallsMade(made=spent.made, cached=spent.cached),
                    "tokens": Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens),
                    "usd": spent.usd,
                    "unpriced": list(calls.budget.unpriced),
                }
            )
            write_items(folder.path, works)
            write_perturbations(folder.path, works)
            write_json(folder.path / "results.json", results.model_dump(mode="json"))
    limit = next((work.failed.reason for work in works if work.failed is not None and work.failed.stage == "budget"), None)
    if limit is not None:
        stopped = sum(work.failed is not None and work.failed.stage == "budget" for work in works)
        raise Stopped(f"{limit}. {stopped} of {len(works)} items are not audited", results)
    if unchecked is not None:
        raise Stopped(f"{unchecked.reason}. All items are audited; some of the checks are not done", results)
    return results


async def _explain(audited: Audited, work: Work) -> None:
    """Ask for the answer and its explanation in every way."""
    requests = [
        elicit(audited.llm, audited.asking(group.persona), work.units, ELICITATIONS.get(group.elicitation), group.order)
        for group in audited.groups
    ]
    with doing("elicit", str(work.item.number)):
        replies = await audited.llm.answer(requests)
    for group, reply in zip(audited.groups, replies, strict=True):
        form = ELICITATIONS.get(group.elicitation)
        answer = answered(audited.llm, audited.asking(group.persona), form, group.order, reply)
        work.answers[group] = answer if isinstance(answer, Failed) else answer[0]
        work.said[group] = elicited(audited.llm, audited.asking(group.persona), work.units, form, group.order, reply)
        if isinstance(reply, ChatReply):
            work.replies[group] = reply.text


async def _check(audited: Audited, works: Sequence[Work], report: Report) -> tuple[list[CheckResult], Failed | None]:
    """The further checks that are asked for, each of all items that can be explained; and what kept some from being done."""
    units = [work.units for work in works if work.failed is None]
    found: list[CheckResult] = []
    stopped: Failed | None = None
    for persona, name in product(audited.config.personas, audited.config.checks):
        orders = cast(tuple[Order, ...], audited.config.order)
        checked = Checked(audited.llm, audited.reader, audited.asking(persona), units, orders, audited.config.seed, report)
        try:
            with doing("check", name):
                found += await CHECKS.get(name)(checked)
        except LimitReached as limit:
            stopped = Failed("budget", str(limit))
            lost = missing([stopped] * len(units))
            found.append(CheckResult(name=name, persona=persona, figures={}, n=0, n_failed=len(units), void=True, missing=lost))
    tests = [(check, figure) for check in found for figure in check.p]
    for (check, figure), q in zip(tests, benjamini_hochberg([check.p[figure] for check, figure in tests]), strict=True):
        check.q[figure] = q
    return found, stopped


def _results(
    audited: Audited, works: Sequence[Work], checks: Sequence[CheckResult], tested: AuditSelftest, manifest: Mapping[str, object]
) -> AuditResults:
    config = audited.config
    found, compared = [], []
    agreed: dict[str, dict[str, Agreement | Failure]] = {}
    for group, operator in product(audited.groups, config.operators):
        form = group.form(same_prompt=config.same_prompt)
        perturbed = "same prompt" if form else "answer only"
        asked = Asked(group.elicitation, group.order, operator, group.persona, audited.reader.name, perturbed)
        items = [_figures(audited, work, group, operator) for work in works]
        found += rows(items, asked, seed=config.seed)
        compared += differences(items, asked, seed=config.seed)
        name = " ".join(part for part in (group.elicitation, group.order, group.persona, operator) if part)
        agreed |= {f"{name}: {pair}": measures for pair, measures in agreements(items, seed=config.seed).items()}
    adjust([value for row in found if row.source == "self" for value in row.metrics.values() if isinstance(value, Metric)])
    adjust(compared)
    judged = verdicts(found, compared)
    verdict, reason = together(judged, tested)
    truths = [truth for work in works for truth in work.truths.values()]
    return AuditResults(
        rows=found,
        paired_differences=compared,
        agreement=agreed,
        n_items=len(works),
        verdict=verdict,
        verdict_reason=reason,
        verdicts=judged,
        void=all(row.void for row in found if row.source == "self"),
        replies=[_replies(works, group) for group in audited.groups],
        drift=drifts(audited, works),
        checks=list(checks),
        selftest=tested,
        plan={"texts_asked": sum(truth.asked for truth in truths), "texts_evaluated": sum(len(truth.beliefs) for truth in truths)},
        manifest=dict(manifest),
    )


def _figures(audited: Audited, work: Work, group: Group, operator: str) -> ItemFigures:
    """Of an item; why it has none where it failed as a whole."""
    sources = dict.fromkeys(("self", ORACLE, *audited.config.methods))
    failed = work.failed or Failed("perturb", "not perturbed")
    return work.figures.get((group, operator), ItemFigures(dict.fromkeys(sources, failed), {}, {}, {}))


def _replies(works: Sequence[Work], group: Group) -> Replies:
    outcomes = [work.said.get(group, work.failed or UNASKED) for work in works]
    parsed = [said for said in outcomes if not isinstance(said, Failed)]
    match: Counter[str] = Counter()
    for said in parsed:
        match.update(vars(said.said.match))
    right = [
        float(not isinstance(answer := work.answers.get(group, UNASKED), Failed) and alike(answer, work.item.gold))
        for work in works
        if work.item.gold is not None
    ]
    masses = [
        belief.mass
        for work in works
        if isinstance(belief := next((work.wholes[key] for key in work.wholes if key[0] == group), None), Belief)
        and belief.mass is not None
    ]
    mass = mean(masses)
    stated = [said.confidence for said in parsed if not isinstance(said.confidence, Failed)]
    accuracy, confidence = mean(right), mean(stated)
    return Replies(
        elicitation=group.elicitation,
        order=group.order,
        persona=group.persona,
        n=len(outcomes),
        parsed=len(parsed),
        failed=missing(outcomes),
        match=dict(match),
        accuracy=failure(accuracy) if isinstance(accuracy, Failed) else accuracy,
        confidence=failure(confidence) if isinstance(confidence, Failed) else confidence,
        label_mass=None if not masses else failure(mass) if isinstance(mass, Failed) else mass,
    )
