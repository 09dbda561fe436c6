"""Does the score tell right from wrong explanations, and at what cost?

48 token-concentrated neurons, chosen by the fixed rule of evals.bench.neurons, with template explanations (no language model writes).
On the held-out top and random excerpts of each, its own explanation is simulated and that of the next neuron with another one. The
published protocol spends about 12,000 prompt tokens a neuron (one explanation, ten simulations with their few-shots).
"""

import asyncio
from typing import Any

from agents.budget import Budget
from agents.connect import connect
from agents.explainers import EXPLAINERS
from agents.explanation import Explanation
from agents.simulators import SIMULATORS
from analyzers.errors import Failed
from analyzers.evidence import Evidence
from evals.bench.neurons import bench_pass, concentrated_evidence
from evals.scores import score
from evals.site_scores import pairs_of
from evals.statistics import auroc, mean

NEURONS = 48
SIMULATOR = "local:qwen2.5-coder-0.5b"
PUBLISHED_PROMPT_TOKENS = 12_000


def main() -> dict[str, Any]:
    """AUROC of matched against mismatched explanations, raw and with null contrast, and prompt tokens computed per neuron."""
    return asyncio.run(_main())


async def _main() -> dict[str, Any]:
    subject, store = bench_pass()
    template = EXPLAINERS.create("template")
    chosen: list[tuple[Evidence, str]] = []
    for evidence in concentrated_evidence(subject, store, NEURONS):
        (said,) = await template.explain(evidence.splits["explain"], candidates=1, seed=0)
        if isinstance(said, Explanation):
            chosen.append((evidence, said.text))
    del subject, store
    budget = Budget()
    # No cache: the tokens are to be computed, and counted.
    async with await connect(SIMULATOR, budget=budget, cache=None) as llm:
        simulator = SIMULATORS.pick(llm)
        rows: list[tuple[float, float, bool, int]] = []
        tokens_of_score = 0
        for position, (evidence, text) in enumerate(chosen):
            test = [excerpt for excerpt in evidence.splits["test"] if excerpt.stratum in ("top", "random")]
            other = next(said for _, said in chosen[position + 1 :] + chosen[:position] if said != text)
            before = budget.spent.prompt_tokens
            null = await simulator.simulate("", test)
            matched = await simulator.simulate(text, test)
            tokens_of_score += budget.spent.prompt_tokens - before
            pair: list[tuple[float, float, bool, int]] = []
            for right, outcomes in ((True, matched), (False, await simulator.simulate(other, test))):
                values = []
                for pairs in (pairs_of(test, outcomes), pairs_of(test, outcomes, null)):
                    values.append(pairs if isinstance(pairs, Failed) else score("pearson", pairs))
                if not isinstance(values[0], Failed) and not isinstance(values[1], Failed):
                    pair.append((values[0], values[1], right, position))
            # Both or neither: else the two sides of the AUROC would be of different neurons.
            rows += pair if len(pair) == 2 else []
    truth = [row[2] for row in rows]
    units = [row[3] for row in rows]
    figures = {
        "pearson": auroc([row[0] for row in rows], truth, units),
        "pearson_null_contrast": auroc([row[1] for row in rows], truth, units),
    }
    sides = {name: mean([row[1] for row in rows if row[2] is right]) for name, right in (("matched", True), ("mismatched", False))}
    return {
        "simulator": SIMULATOR,
        "neurons": len(chosen),
        "failed": len(chosen) - len(rows) // 2,
        "auroc": {name: value.reason if isinstance(value, Failed) else value.model_dump() for name, value in figures.items()},
        "mean_null_contrast": {name: value.reason if isinstance(value, Failed) else value.model_dump() for name, value in sides.items()},
        "prompt_tokens_per_scored_neuron": tokens_of_score / len(chosen),
        "published_prompt_tokens": PUBLISHED_PROMPT_TOKENS,
    }
