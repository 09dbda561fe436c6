"""What the checks of explanations share: those of all items in one form, beliefs about changed texts, and the same for random units.

f is the probability of the answer that the model explained. Where answers are free it stands against all other answers together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.beliefs import OTHER, Belief
from agents.beliefs.samples import alike
from agents.self_explanations import ELICITATIONS, Asking, Elicitation, Elicited, Order, ask, elicit, elicited
from analyzers.errors import Failed
from analyzers.perturbations import OPERATORS
from analyzers.units import Units
from evals.audit.checks import Checked, CheckResult
from evals.audit.checks.found import answers, beliefs, check_result, missing, plain
from evals.audit.rows import CHAINS, DRAWS, HELD, RANDOM
from evals.results import Failure, failure
from evals.statistics import mean, permutation_p

UNDECIDED = Failed("predict", "the model is undecided between answers")
DIFFERENT = Failed("predict", "what is explained is another answer than the model gives without an explanation")


@dataclass(frozen=True)
class Explained:
    """An item whose explained answer is the one that the model gives."""

    units: Units
    elicited: Elicited
    whole: Belief
    """Of the whole text."""

    @property
    def answer(self) -> str:
        """The one explained."""
        return self.elicited.answer

    def f(self, belief: Belief) -> float:
        return belief.probabilities[self.answer]

    def drop(self, belief: Belief) -> float:
        """f(x) - f(the text that this belief is about)"""
        return self.f(self.whole) - self.f(belief)

    def flipped(self, belief: Belief) -> bool:
        """Whether another answer is given; being undecided is none."""
        return belief.label not in (self.whole.label, None)


async def explained(checked: Checked, form: str, order: Order) -> list[Explained | Failed]:
    """[item] its explanation in that form; Failed where there is none, or where it is of another answer than the model gives."""
    said = await explanations(checked, checked.items, ELICITATIONS.get(form), order, f"{form}, {order}: explanations")
    answered = [(units.text, each.answer) for units, each in zip(checked.items, said, strict=True) if not isinstance(each, Failed)]
    whole = iter(await believed(checked, answered, f"{form}, {order}: answers"))
    return [
        each if isinstance(each, Failed) else _explained(units, each, next(whole)) for units, each in zip(checked.items, said, strict=True)
    ]


async def explanations(checked: Checked, texts: Sequence[Units], form: Elicitation, order: Order, what: str) -> list[Elicited | Failed]:
    """[text] what the model says of each; what: as it is reported."""
    replies = await answers(checked, what, [elicit(checked.llm, checked.asking, units, form, order) for units in texts])
    return [elicited(checked.llm, checked.asking, units, form, order, reply) for units, reply in zip(texts, replies, strict=True)]


def _explained(units: Units, said: Elicited, whole: Belief | Failed) -> Explained | Failed:
    problem = unlike(whole, said.answer)
    return problem if problem else whole if isinstance(whole, Failed) else Explained(units, said, whole)


def unlike(belief: Belief | Failed, answer: str) -> Failed | None:
    """Why a belief is not one in this answer; None where it is. An answer that it has no probability of is among all the others."""
    if isinstance(belief, Failed):
        return belief
    if belief.label is None:
        return UNDECIDED
    known = [name for name in belief.probabilities if name == answer or alike(name, answer)]
    return None if belief.label in (known or [OTHER]) else DIFFERENT


async def believed(checked: Checked, texts: Sequence[tuple[str, str]], what: str, asking: Asking | None = None) -> list[Belief | Failed]:
    """[text] what the model holds of each (text, answer); the answer says whose probability is read where answers are free.

    asking: instead of that of the check.
    """
    sure = checked.reader.name == "stated"
    return await beliefs(checked, what, [ask(asking or checked.asking, text, None, sure=sure).about(answer) for text, answer in texts])


async def changed(
    checked: Checked, items: Sequence[Explained], texts: Sequence[Sequence[str]], what: str, asking: Asking | None = None
) -> list[list[Belief | Failed]]:
    """[item][text] what the model holds of texts that were made of the items; all are asked together."""
    asked = [(text, item.answer) for item, some in zip(items, texts, strict=True) for text in some]
    found = iter(await believed(checked, asked, what, asking))
    return [[next(found) for _ in some] for some in texts]


def without(units: Units, taken: Iterable[int], operator: str = "mask") -> str:
    """The text with these units taken away."""
    take, rng = OPERATORS.get(operator), np.random.default_rng(0)
    return units.written({unit: take(units, unit, units.texts, rng) for unit in sorted(taken)})


def random_sets(units: int, count: int, seed: Sequence[int]) -> list[list[int]]:
    """[draw] so many of the units, each set as likely as any other."""
    rng = np.random.default_rng(seed)
    return [sorted(rng.choice(units, size=count, replace=False).tolist()) for _ in range(CHAINS)]


@dataclass(frozen=True)
class Measured:
    """What a check found of one item."""

    figures: Mapping[str, float | Failed]
    random: Mapping[str, Sequence[float | Failed]]
    """By name of the figure: [draw] the same of random units."""
    record: dict[str, Any] = field(default_factory=dict)


def figure(belief: Belief | Failed, of: Callable[[Belief], float], text: str) -> float | Failed:
    """Of one belief; text: what it is about, as the reason of a failure has it."""
    return Failed(belief.stage, f"{text}: {belief.reason}") if isinstance(belief, Failed) else float(of(belief))


def beside_random(
    name: str,
    order: str,
    checked: Checked,
    items: Sequence[Explained | Failed],
    measured: Sequence[Measured],
    names: Sequence[str],
    beside: Sequence[str],
) -> CheckResult:
    """Means over the items that have the figure, those of `beside` next to random units; measured: of every item that has an explanation.

    A random draw without an answer is left out. Of an item at least half of them must be left, and of the items with the figure a share
    of HELD must have such draws. An item that lacks a figure is still one that the check was made of; `missing` says why it lacks it.
    """
    each = iter(measured)
    found = [item if isinstance(item, Failed) else next(each) for item in items]
    tests = {figure: _beside(figure, measured, checked.seed) for figure in beside}
    means = {figure: mean(_known([one.figures[figure] for one in measured]), draws=DRAWS, seed=checked.seed) for figure in names}
    return check_result(
        checked,
        name,
        order,
        means,
        n=len(measured),
        missing=missing([one] if isinstance(one, Failed) else one.figures.values() for one in found),
        chance={figure: chance for figure, (chance, _) in tests.items()},
        p={figure: p for figure, (_, p) in tests.items()},
        records=[record(units, one) for units, one in zip(checked.items, found, strict=True)],
    )


def _beside(name: str, found: Sequence[Measured], seed: int) -> tuple[float | Failure, float | None]:
    """The mean of random units, and how often random units do as well."""
    rng = np.random.default_rng(seed)
    having = [each for each in found if not isinstance(each.figures[name], Failed)]
    held = [each for each in having if 2 * len(_known(each.random[name])) >= max(1, len(each.random[name]))]
    if len(held) < HELD * len(having) or not held:
        reasons = (draw for each in having for draw in each.random[name] if isinstance(draw, Failed))
        return failure(next(reasons, Failed("score", "no items"))), None
    mine = float(np.mean(_known([each.figures[name] for each in held])))
    draws = [np.array(_known(each.random[name])) for each in held]
    means = np.mean([some[rng.integers(len(some), size=RANDOM)] for some in draws], axis=0)
    return float(np.mean([some.mean() for some in draws])), permutation_p(mine, means)


def _known(values: Iterable[float | Failed]) -> list[float]:
    return [value for value in values if not isinstance(value, Failed)]


def record(units: Units, found: Measured | Failed) -> dict[str, Any]:
    """Of one item, as the result holds it."""
    if isinstance(found, Failed):
        return {"text": units.text, "failed": plain(found)}
    return {"text": units.text, **found.record, "figures": {name: plain(value) for name, value in found.figures.items()}}
