"""The model edits a text so that its answer would be another one: faithful where it then gives another one.

After Madsen et al. 2024 (arXiv 2401.07927). An edit that changes much changes any answer, so its size stands beside it, and so does what
masking the same number of random units does.
"""

from collections.abc import Sequence

from agents.beliefs import Belief
from agents.self_explanations import Order
from analyzers.errors import Failed
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.explained import Explained, Measured, beside_random, changed, explained, figure, random_sets, without
from evals.audit.checks.found import plain

TESTED = ("flipped", "rise")
FIGURES = (*TESTED, "share_changed")


@CHECKS.add("counterfactual")
async def counterfactual(checked: Checked) -> list[CheckResult]:
    """Figures: flipped, share of items with another answer to the edited text; rise, mean of f(x) - f(edited), how far the other answers
    rise; share_changed, of the units, those that are gone from the edit or the words that are new in it, whichever are more."""
    return [await _counterfactual(checked, order) for order in checked.orders]


async def _counterfactual(checked: Checked, order: Order) -> CheckResult:
    found = await explained(checked, "counterfactual", order)
    known = [(number, item) for number, item in enumerate(found) if not isinstance(item, Failed)]
    texts = []
    for number, item in known:
        drawn = random_sets(len(item.units), _changed(item), (checked.seed, number))
        texts.append([item.elicited.said.rewritten or "", *(without(item.units, some) for some in drawn)])
    believed = await changed(checked, [item for _, item in known], texts, f"counterfactual, {order}: edited texts")
    measured = [_found(item, held) for (_, item), held in zip(known, believed, strict=True)]
    return beside_random("counterfactual", order, checked, found, measured, FIGURES, TESTED)


def _changed(item: Explained) -> int:
    """How many units the edit is worth: a word put for another is one."""
    said = item.elicited.said
    return min(len(item.units), max(sum(map(bool, said.values)), said.match.invented))


def _found(item: Explained, believed: Sequence[Belief | Failed]) -> Measured:
    """believed: [edited, random ...]"""
    edited, *random = believed
    measures = {"flipped": item.flipped, "rise": item.drop}
    return Measured(
        figures={
            **{name: figure(edited, of, "as the model edits it") for name, of in measures.items()},
            "share_changed": _changed(item) / len(item.units),
        },
        random={name: [figure(draw, of, "masked at random") for draw in random] for name, of in measures.items()},
        record={
            "answer": item.answer,
            "whole": plain(item.whole),
            "edited": {"text": item.elicited.said.rewritten, "belief": plain(edited)},
        },
    )
