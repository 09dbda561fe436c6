"""What the checks of thoughts and suggestions share: thoughts of every item, what the model holds after changed ones, and a control."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from agents.beliefs import Belief
from agents.self_explanations.chain_of_thought import Thinking
from analyzers.errors import Failed
from evals.audit.checks import Checked, CheckResult
from evals.audit.checks.found import answers, beliefs, check_result, missing, plain
from evals.audit.rows import DRAWS
from evals.statistics import mean, sign_flip_p

CHANGED = ("same_answer", "drop")
BELOW = frozenset({"same_answer", "same_without"})
"""Figures that are the smaller, the more the thoughts matter."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Altered:
    """Three chains of thought about one text, each on one line."""

    text: str
    whole: str
    """The model's own."""
    altered: str
    control: str
    """The model's own, changed in a way that should change nothing."""


@dataclass(frozen=True)
class Compared:
    """What a check found of one item."""

    figures: Mapping[str, float]
    """By name; one that is not defined for the item is not there."""
    control: Mapping[str, float]
    """What the control has in place of them."""
    record: Mapping[str, Any] = field(default_factory=dict)


def thinking(checked: Checked) -> Thinking:
    """How the model thinks, in the form in which its belief is read."""
    return Thinking(checked.llm, checked.asking, sure=checked.reader.name == "stated")


async def thoughts(checked: Checked) -> list[tuple[str, ...] | Failed]:
    """[item][step] what the model thinks before it answers."""
    how = thinking(checked)
    replies = await answers(checked, "think", [how.think(item.text) for item in checked.items])
    return [how.steps(reply) for reply in replies]


async def for_known(items: Sequence[A | Failed], do: Callable[[Sequence[A]], Awaitable[Sequence[B | Failed]]]) -> list[B | Failed]:
    """[item] what is done with those that have not failed, all together; the others stay failed."""
    done = iter(await do([item for item in items if not isinstance(item, Failed)]))
    return [item if isinstance(item, Failed) else next(done) for item in items]


def every(found: Sequence[B | Failed]) -> list[B] | Failed:
    """All of them, or why one failed."""
    known = [each for each in found if not isinstance(each, Failed)]
    return known if len(known) == len(found) else next(each for each in found if isinstance(each, Failed))


def decided(belief: Belief | Failed) -> str | Failed:
    """The answer; Failed where the model is undecided."""
    if isinstance(belief, Failed):
        return belief
    return Failed("predict", "no answer is likelier than all others") if belief.label is None else belief.label


def no_op(chain: str) -> str:
    """The same thoughts with one space doubled: what this changes is the floor of any change."""
    return chain.replace(" ", "  ", 1) if " " in chain else f" {chain}"


async def compare(checked: Checked, name: str, altered: Sequence[Altered | Failed]) -> CheckResult:
    """same_answer: share of items that keep, after the altered thoughts, their answer after their own; drop: how far its probability falls.

    altered: [item]. Chance is what the control has; p is small where altered thoughts change more than the control.
    """
    how = thinking(checked)

    async def ask(known: Sequence[Altered]) -> list[Compared | Failed]:
        questions = [how.answer(of.text, chain) for of in known for chain in (of.whole, of.altered, of.control)]
        found = await beliefs(checked, "answer after changed thoughts", questions)
        return [_changed(of, *found[3 * at : 3 * at + 3]) for at, of in enumerate(known)]

    return compared(checked, name, CHANGED, await for_known(altered, ask))


def _changed(of: Altered, whole: Belief | Failed, altered: Belief | Failed, control: Belief | Failed) -> Compared | Failed:
    answer = decided(whole)
    for belief in (answer, whole, altered, control):
        if isinstance(belief, Failed):
            return belief
    assert isinstance(answer, str)
    assert isinstance(whole, Belief)
    assert isinstance(altered, Belief)
    assert isinstance(control, Belief)
    f, after, floor = (belief.probabilities[answer] for belief in (whole, altered, control))
    return Compared(
        {"same_answer": float(altered.label == answer), "drop": f - after},
        {"same_answer": float(control.label == answer), "drop": f - floor},
        {
            "thoughts": of.whole,
            "altered": of.altered,
            "control": of.control,
            "answer": answer,
            "answer_altered": altered.label,
            "answer_control": control.label,
            "f": f,
            "f_altered": after,
            "f_control": floor,
        },
    )


def compared(checked: Checked, name: str, figures: Iterable[str], items: Sequence[Compared | Failed], order: str = "") -> CheckResult:
    """Means over items [item] of the check, beside those of the control on the same items; what failed is counted and said.

    p is one-sided: the signs of the items' differences from the control are exchanged.
    """
    known = [item for item in items if not isinstance(item, Failed)]
    names = list(figures)
    both = {name: [item for item in known if name in item.figures and name in item.control] for name in names}
    tested = {name: some for name, some in both.items() if some}
    means = {name: mean([item.figures[name] for item in known if name in item.figures], draws=DRAWS, seed=checked.seed) for name in names}
    return check_result(
        checked,
        name,
        order,
        means,
        n=len(known),
        missing=missing([item] for item in items),
        chance={name: float(np.mean([item.control[name] for item in some])) for name, some in tested.items()},
        p={
            name: sign_flip_p(
                [(-1 if name in BELOW else 1) * (item.figures[name] - item.control[name]) for item in some],
                two_sided=False,
                seed=checked.seed,
            )
            for name, some in tested.items()
        },
        records=[
            {"text": item.text, **({"failed": plain(found)} if isinstance(found, Failed) else found.record)}
            for item, found in zip(checked.items, items, strict=True)
        ],
    )


def without_labels(checked: Checked, name: str, figures: Iterable[str], order: str = "") -> CheckResult:
    """What a task with free answers gets: no figure, and why."""
    why = Failed("ask", "the answers of this task are free: whether one stays the same is only told among given labels")
    return check_result(checked, name, order, dict.fromkeys(figures, why), n=0, missing=missing([why] for _ in checked.items))
