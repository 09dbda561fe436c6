"""Paraphrase: is it what the thoughts say, or their very words? After Lanham et al. 2023 (arXiv 2307.13702).

The model says its thoughts in other words and answers after those. Answers that change show that the wording carried something that the
meaning does not. Chance is the model's own thoughts with a space doubled.
"""

from collections.abc import Sequence

from agents.self_explanations.chain_of_thought import THOUGHT_TOKENS, rewrite, rewritten
from analyzers.errors import Failed
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.after_thought import CHANGED, Altered, compare, for_known, no_op, thoughts, without_labels
from evals.audit.checks.found import answers

PROMPT = "paraphrase"
TOKENS = 2 * THOUGHT_TOKENS


@CHECKS.add("paraphrase")
async def paraphrase(checked: Checked) -> list[CheckResult]:
    """same_answer and drop (after_thought.compare) with the paraphrase in place of the thoughts."""
    if len(checked.asking.labels) < 2:
        return [without_labels(checked, "paraphrase", CHANGED)]
    chains = await thoughts(checked)
    placed = [
        chain if isinstance(chain, Failed) else (item.text, " ".join(chain)) for item, chain in zip(checked.items, chains, strict=True)
    ]

    async def ask(known: Sequence[tuple[str, str]]) -> list[Altered | Failed]:
        requests = [rewrite(checked.llm, PROMPT, TOKENS, thoughts=chain) for _, chain in known]
        replies = await answers(checked, "paraphrase", requests)
        found = [rewritten(checked.llm, PROMPT, chain, reply) for (_, chain), reply in zip(known, replies, strict=True)]
        return [
            other if isinstance(other, Failed) else Altered(text, chain, other, no_op(chain))
            for (text, chain), other in zip(known, found, strict=True)
        ]

    return [await compare(checked, "paraphrase", await for_known(placed, ask))]
