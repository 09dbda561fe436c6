"""Simulation with shared prefix and batched excerpts against one full prompt an excerpt, alternated in one process.

Naive computes the same tokens for every excerpt anew, one excerpt at a time, and reads the digits only, too. Excerpts are of the default
subject's neurons; every round has an explanation that was not asked before, so that only the prefix is shared between rounds.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.llm import Readout
from agents.providers.local import LocalLLM
from agents.simulators.all_at_once import AllAtOnce
from analyzers.engine import Engine, Reading
from analyzers.errors import Failed
from evals.bench.neurons import bench_pass, random_evidence

MODEL = "qwen2.5-coder-0.5b"
EXCERPTS = 6
ROUNDS = 4


def main() -> dict[str, Any]:
    """Seconds an explanation of both ways, their ratio, tokens computed, and how far the expected levels differ."""
    subject, store = bench_pass()
    evidence = random_evidence(subject, store, ROUNDS)
    del subject, store
    engine = Engine.load(MODEL)
    simulator = AllAtOnce(LocalLLM(f"local:{MODEL}"))
    seconds: dict[str, list[float]] = {"naive": [], "shared": []}
    tokens: dict[str, list[int]] = {"naive": [], "shared": []}
    difference = 0.0
    for number, found in enumerate(evidence):
        requests = [simulator.request(f"the word number {number}", excerpt) for excerpt in found.splits["test"][:EXCERPTS]]
        if number == 0:
            _shared(engine, requests)  # the prefix, once in a process
            requests = [request.model_copy(update={"head": request.head.replace("number", "count")}) for request in requests]
        levels: dict[str, Any] = {}
        for name, way in (("naive", _naive), ("shared", _shared)):
            began = time.perf_counter()
            readings = way(engine, requests)
            seconds[name].append(time.perf_counter() - began)
            tokens[name].append(sum(reading.prompt_tokens for reading in readings))
            levels[name] = np.concatenate([np.exp(reading.logprobs) @ np.arange(10) for reading in readings])
        difference = max(difference, float(np.abs(levels["naive"] - levels["shared"]).max()))
    return {
        "model": MODEL,
        "dtype": engine.identity["dtype"],
        "excerpts": EXCERPTS,
        "seconds": {name: round(sum(values) / len(values), 2) for name, values in seconds.items()},
        "tokens": {name: sum(values) // len(values) for name, values in tokens.items()},
        "ratio": round(sum(seconds["naive"]) / sum(seconds["shared"]), 2),
        "ratio_by_round": [round(a / b, 2) for a, b in zip(seconds["naive"], seconds["shared"], strict=True)],
        "largest_difference_of_a_level": difference,
    }


def _naive(engine: Engine, requests: Sequence[Readout]) -> list[Reading]:
    readings = []
    for request in requests:
        pieces = (request.prefix, request.head, *request.pieces)
        readings += _read(engine, "", "", [(pieces, tuple(index + 2 for index in request.after))], request.options)
    return readings


def _shared(engine: Engine, requests: Sequence[Readout]) -> list[Reading]:
    first = requests[0]
    return _read(engine, first.prefix, first.head, [(request.pieces, request.after) for request in requests], first.options)


def _read(
    engine: Engine, prefix: str, head: str, items: Sequence[tuple[Sequence[str], Sequence[int]]], options: Sequence[str]
) -> list[Reading]:
    readings = []
    for reading in engine.readouts(prefix, head, items, options):
        if isinstance(reading, Failed):
            raise RuntimeError(f"the benchmark's own text failed: {reading.reason}")
        readings.append(reading)
    return readings
