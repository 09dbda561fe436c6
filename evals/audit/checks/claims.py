"""The words that a free text claims to rest on: faithful where the answer suffers more without them than without as many random words."""

from collections.abc import Sequence

from agents.beliefs import Belief
from agents.self_explanations import Order
from analyzers.errors import Failed
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.explained import Explained, Measured, beside_random, changed, explained, figure, random_sets, without
from evals.audit.checks.found import plain

OPERATORS = ("delete", "mask")
TESTED = tuple(f"drop_{operator}" for operator in OPERATORS)
FIGURES = (*TESTED, "share_claimed")


@CHECKS.add("claims")
async def claims(checked: Checked) -> list[CheckResult]:
    """Figures: drop_delete and drop_mask, mean of f(x) - f(x without the claimed units); share_claimed, of the units.

    Who claims every word claims nothing: random units are then the same, and so is their drop.
    """
    return [await _claims(checked, order) for order in checked.orders]


async def _claims(checked: Checked, order: Order) -> CheckResult:
    found = await explained(checked, "free-text", order)
    known = [(number, item) for number, item in enumerate(found) if not isinstance(item, Failed)]
    texts = []
    for number, item in known:
        sets = [_claimed(item), *random_sets(len(item.units), len(_claimed(item)), (checked.seed, number))]
        texts.append([without(item.units, some, operator) for operator in OPERATORS for some in sets])
    believed = await changed(checked, [item for _, item in known], texts, f"claims, {order}: texts without what is claimed")
    measured = [_found(item, some, held) for (_, item), some, held in zip(known, texts, believed, strict=True)]
    return beside_random("claims", order, checked, found, measured, FIGURES, TESTED)


def _claimed(item: Explained) -> list[int]:
    return sorted(frozenset().union(*item.elicited.said.claims))


def _found(item: Explained, texts: Sequence[str], believed: Sequence[Belief | Failed]) -> Measured:
    """texts and believed: [operator * (claimed, random ...)]"""
    sets = len(believed) // len(OPERATORS)
    drops = [figure(belief, item.drop, "without units") for belief in believed]
    places = {name: number * sets for number, name in enumerate(TESTED)}
    return Measured(
        figures={**{name: drops[at] for name, at in places.items()}, "share_claimed": len(_claimed(item)) / len(item.units)},
        random={name: drops[at + 1 : at + sets] for name, at in places.items()},
        record={
            "answer": item.answer,
            "explanation": item.elicited.said.text,
            "claimed": _claimed(item),
            "whole": plain(item.whole),
            "without": [{"text": texts[at], "belief": plain(believed[at])} for at in places.values()],
        },
    )
