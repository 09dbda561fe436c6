"""What perturbing one item does, for every explanation of it and for what these are held against.

What is wanted of one item under one operator (single deletions, the orders of all explanations, random orders, the sets of further
methods) is planned as one set of texts before any is asked about.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from agents.beliefs import OTHER, Belief
from agents.self_explanations import Elicited
from analyzers.attributions import Floats, Plan
from analyzers.errors import Failed
from analyzers.units import Kept
from evals.audit.faithfulness import Ranking, deletions, kept, measure, removed
from evals.audit.results import Drift
from evals.audit.rows import Chance, ItemFigures, add_naopc, random_chains, random_orders
from evals.audit.truth import Perturbed, Truth
from evals.audit.work import Audited, Group, Work
from evals.calls import doing
from evals.results import failure
from evals.statistics import mean

UNDECIDED = Failed("predict", "the model is undecided on the whole text")
TIES, DRAWN = 1, 2
"""Streams of draws of an item, apart from that of its random orders: ties of explanations, and draws among random orders."""
NO_OPS: Mapping[str, Callable[[str], str]] = {
    "a doubled space": lambda text: text.replace(" ", "  ", 1),
    "a space before it": lambda text: f" {text}",
}
"""Changes of a text that should change nothing."""


def _truth(audited: Audited, work: Work, group: Group, operator: str) -> Truth | None:
    """The truth that a group's explanation is held against; None where answers are free and there is none."""
    said = work.said[group]
    answer = ""
    if not audited.task.labels:
        if isinstance(said, Failed):
            return None
        answer = said.answer
    key = (group.persona, group.form(same_prompt=audited.config.same_prompt), operator, answer)
    if key not in work.truths:
        perturbed = Perturbed.by(operator, work.units, audited.others, [audited.config.seed, work.item.number])
        question = partial(audited.question, group, work.units, answer=answer)
        work.truths[key] = Truth(audited.llm, audited.reader, perturbed, question)
    return work.truths[key]


def along(order: Sequence[int]) -> Iterator[Kept]:
    yield from removed(order)
    yield from kept(order)


async def perturb(audited: Audited, work: Work) -> None:
    """Find out what removing units does, for every explanation and for what it is held against."""
    units, config = len(work.units), audited.config
    plans = audited.plans(work)
    random = random_orders(units, audited.rng(work), config.random)
    mine = {
        group: said if isinstance(said, Failed) else Ranking.of(said.said.values, audited.rng(work, TIES))
        for group, said in work.said.items()
    }
    with doing("perturb", str(work.item.number)):
        for operator in config.operators:
            truths = {group: _truth(audited, work, group, operator) for group in audited.groups}
            different = list({id(truth): truth for truth in truths.values() if truth is not None}.values())
            for truth in different:
                truth.plan(*(plan.sets for plan in plans.values()), *(removed(order) for order in random))
            for group, held in truths.items():
                ranking = mine[group]
                if held is not None and not isinstance(ranking, Failed):
                    held.plan(along(ranking.order))
            found: dict[int, Mapping[str, Ranking | Failed]] = {}
            for truth in different:
                await truth.fill()
                found[id(truth)] = _methods(plans, truth, audited.rng(work, TIES))
                truth.plan(*(along(ranking.order) for ranking in found[id(truth)].values() if not isinstance(ranking, Failed)))
                await truth.fill()
            for group, held in truths.items():
                ranking = mine[group] if held is None else _agreeing(mine[group], work.said[group], held)
                beside = dict.fromkeys(plans, _no_truth(work.said[group])) if held is None else found[id(held)]
                _measure(audited, work, group, operator, {"self": ranking, **beside}, held)
        await _drift(audited, work)


def _no_truth(said: Elicited | Failed) -> Failed:
    assert isinstance(said, Failed)
    return said


def _agreeing(ranking: Ranking | Failed, said: Elicited | Failed, truth: Truth) -> Ranking | Failed:
    """The explanation, where it is of the answer that the perturbations are about."""
    belief = truth.whole()
    if isinstance(ranking, Failed) or isinstance(said, Failed):
        return ranking
    if isinstance(belief, Failed):
        return belief
    if truth.question("").labels and belief.label != said.answer:
        return Failed("predict", "the answer that is explained is not the one that the perturbations are about")
    return ranking


def undecided(whole: Belief) -> Failed | None:
    """Why a belief about the whole text has no answer to be explained; None where it has one."""
    if whole.label == OTHER:
        return Failed("predict", "the answer that is explained is not the likeliest one")
    return UNDECIDED if whole.label is None else None


def _methods(plans: Mapping[str, Plan], truth: Truth, rng: np.random.Generator) -> dict[str, Ranking | Failed]:
    """The explanation of each perturbation method, as a ranking by support for the answer."""
    belief = truth.whole()
    if isinstance(belief, Failed):
        return dict.fromkeys(plans, belief)
    unsure = undecided(belief)
    if unsure is not None or belief.label is None:
        return dict.fromkeys(plans, unsure or UNDECIDED)
    found: dict[str, Ranking | Failed] = {}
    for name, plan in plans.items():
        values = _values(plan, truth, belief.label)
        found[name] = values if isinstance(values, Failed) else Ranking.of(values.tolist(), rng)
    return found


def _values(plan: Plan, truth: Truth, label: str) -> Floats | Failed:
    f: dict[Kept, float] = {}
    for some in dict.fromkeys(plan.sets):
        held = truth(some)
        if isinstance(held, Failed):
            return held
        f[some] = held.probabilities[label]
    return plan.values(f)


def _measure(
    audited: Audited, work: Work, group: Group, operator: str, rankings: Mapping[str, Ranking | Failed], truth: Truth | None
) -> None:
    """Fill in the figures of one item under one way of asking and one operator."""
    held = None if truth is None else truth.whole()
    unsure = undecided(held) if isinstance(held, Belief) else None
    if unsure is not None:
        rankings = dict.fromkeys(rankings, unsure)
    known = {source: ranking for source, ranking in rankings.items() if not isinstance(ranking, Failed)}
    key = (group, operator)
    if held is not None:
        work.wholes[key] = held
    if truth is None or not known:
        work.figures[key] = ItemFigures(rankings, {}, {}, {})
        work.singles[key] = next(ranking for ranking in rankings.values() if isinstance(ranking, Failed))
        return
    single = deletions(len(work.units), truth)
    chains = random_chains(len(work.units), truth, audited.rng(work), audited.config.random)
    figures = {source: measure(ranking, truth, single) for source, ranking in known.items()}
    add_naopc(figures, chains)
    rng = audited.rng(work, DRAWN)
    chance = {source: Chance.of(ranking.values, single, chains, rng) for source, ranking in known.items()}
    work.figures[key] = ItemFigures(rankings, figures, chance, {})
    work.singles[key] = single


async def _drift(audited: Audited, work: Work) -> None:
    """Ask about the whole text with changes that should not matter."""
    for (_, _, operator, _), truth in work.truths.items():
        if operator == audited.config.operators[0]:
            truth.texts += no_ops(work.units.text).values()
            await truth.fill()


def no_ops(text: str) -> dict[str, str]:
    """The text with each of these changes that does change it, by name."""
    changed = {name: change(text) for name, change in NO_OPS.items()}
    return {name: other for name, other in changed.items() if other != text}


def drifts(audited: Audited, works: Sequence[Work]) -> list[Drift]:
    """What these changes did, by way of asking and change."""
    first = audited.config.operators[0]
    keys = dict.fromkeys((persona, form) for work in works for persona, form, operator, _ in work.truths if operator == first)
    return [_drifted(works, (persona, form, first), name) for persona, form in keys for name in NO_OPS]


def _drifted(works: Sequence[Work], way: tuple[str, str, str], name: str) -> Drift:
    changes, flips, failed = [], [], 0
    for work in works:
        for key, truth in work.truths.items():
            text = no_ops(work.units.text).get(name)
            if key[:3] != way or text is None or text not in truth.beliefs:
                continue
            before, after = truth.whole(), truth.beliefs[text]
            if isinstance(before, Failed) or isinstance(after, Failed) or before.label is None:
                failed += 1
                continue
            changes.append(abs(before.probabilities[before.label] - after.probabilities[before.label]))
            flips.append(after.label not in (before.label, None))
    value = mean(changes)
    persona, form, _ = way
    return Drift(
        change=name,
        perturbed=f"same prompt ({form})" if form else "answer only",
        persona=persona,
        mean=failure(value) if isinstance(value, Failed) else value,
        flipped=float(np.mean(flips)) if flips else None,
        n_failed=failed,
    )
