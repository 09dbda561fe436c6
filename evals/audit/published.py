"""The faithfulness formulas as the code published with Huang et al. 2023 (arXiv 2310.11207) computes them, defects and all.

For comparison with published figures only. Of two labels the second counts as positive; p is its probability. The ranking begins with
the unit that speaks most for the positive label, also where the negative one is predicted, and then

comprehensiveness   the reference changes between the stated confidence and its complement at every step of a negative prediction
sufficiency         means absolute differences
df_mit              compares p with one half instead of the answers
df_frac             counts the empty text as a flip where it was answered otherwise, and divides by n + 1
deletion_rank       compares positivity with differences of stated confidences, whatever labels they are in; the code adds noise to both,
                    which is left out here

Read in that repository's Open_Source_LLMs/model_evaluator.py (commit 6496fb1); none of its code is used.
"""

from collections.abc import Callable, Sequence

import numpy as np

from analyzers.errors import Failed
from analyzers.units import Kept
from evals.audit.faithfulness import MetricName, deletion_rank, kept, removed

PUBLISHED: tuple[MetricName, ...] = ("comprehensiveness", "sufficiency", "df_mit", "df_frac", "deletion_rank")

Answer = tuple[bool, float]
"""Whether the positive label was answered, and the stated confidence in the answer."""


def published(values: Sequence[float], order: Sequence[int], answer: Callable[[Kept], Answer | Failed]) -> dict[MetricName, float | Failed]:
    """The five figures of one item: values [unit] and order are by positivity."""
    units = len(order)
    everything = frozenset(order)
    without = [answer(some) for some in removed(order)]
    only = [answer(some) for some in kept(order)][1:]
    single = [answer(everything - {unit}) for unit in range(units)]
    for found in (*without[:-1], *only, *single):
        if isinstance(found, Failed):
            return dict.fromkeys(PUBLISHED, found)
    whole, *taken = [found for found in without if not isinstance(found, Failed)]
    left = [found for found in only if not isinstance(found, Failed)]
    return {
        "comprehensiveness": _comprehensiveness(whole, taken[: units - 1], units),
        "sufficiency": (abs(_p(whole) - 0.5) + sum(abs(_p(whole) - _p(found)) for found in left)) / (units + 1),
        "df_mit": float((_p(taken[0]) > 0.5) != (_p(whole) > 0.5)) if units > 1 else Failed("score", "one unit alone"),
        "df_frac": next((at for at, found in enumerate(taken, 1) if found[0] != whole[0]), units + 1) / (units + 1),
        "deletion_rank": deletion_rank(values, np.array([whole[1] - found[1] for found in single if not isinstance(found, Failed)])),
    }


def _p(answer: Answer) -> float:
    positive, confidence = answer
    return confidence if positive else 1 - confidence


def _comprehensiveness(whole: Answer, taken: Sequence[Answer], units: int) -> float:
    positive, reference = whole
    total = 0.0
    for found in taken:
        reference = reference if positive else 1 - reference
        total += reference - _p(found)
    # Without any unit the reference is not turned once more.
    return (total + reference - 0.5) / (units + 1)
