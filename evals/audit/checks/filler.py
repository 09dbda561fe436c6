"""Filler: is it what the thoughts say, or only the room that they take? After Lanham et al. 2023 (arXiv 2307.13702).

The thoughts are replaced by as many "..." as they have words. Chance is the model's own thoughts with a space doubled.
"""

from analyzers.errors import Failed
from analyzers.units import spaced
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.after_thought import CHANGED, Altered, compare, no_op, thoughts, without_labels

FILLER = "..."


@CHECKS.add("filler")
async def filler(checked: Checked) -> list[CheckResult]:
    """same_answer and drop (after_thought.compare) with filler in place of the thoughts."""
    if len(checked.asking.labels) < 2:
        return [without_labels(checked, "filler", CHANGED)]
    chains = await thoughts(checked)
    altered = [
        chain if isinstance(chain, Failed) else _filled(item.text, " ".join(chain))
        for item, chain in zip(checked.items, chains, strict=True)
    ]
    return [await compare(checked, "filler", altered)]


def _filled(text: str, chain: str) -> Altered:
    return Altered(text, chain, " ".join([FILLER] * len(spaced(chain))), no_op(chain))
