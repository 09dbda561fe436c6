"""Look-ups on held-out excerpts over random neurons: the control that every explanation has to beat."""

import asyncio
from typing import Any

from agents.simulators.lookup import fit_bigram, fit_token
from analyzers.errors import Failed
from evals.bench.neurons import bench_pass, random_evidence
from evals.scores import paired, score
from evals.statistics import mean

NEURONS = 300


def main() -> dict[str, Any]:
    """Mean Pearson correlation, with an interval over neurons, of both look-ups."""
    subject, store = bench_pass()
    values: dict[str, list[float]] = {"token_lookup": [], "bigram_lookup": []}
    failed = 0
    for evidence in random_evidence(subject, store, NEURONS):
        explain, test = evidence.splits["explain"], evidence.splits["test"]
        for fitted in (fit_token(explain), fit_bigram(explain)):
            pairs = paired(test, asyncio.run(fitted.simulate("", test)))
            value = pairs if isinstance(pairs, Failed) else score("pearson", pairs)
            if isinstance(value, Failed):
                failed += 1
            else:
                values[fitted.name].append(value)
    means = {name: mean(scores) for name, scores in values.items()}
    return {"neurons": NEURONS, "failed": failed} | {
        name: value.reason if isinstance(value, Failed) else value.model_dump() for name, value in means.items()
    }
