"""How good the simulator of a run is at telling true explanations from false ones: looked up, or tested on a few planted neurons."""

from collections import Counter

from agents.llm import LLM
from agents.simulators import Simulator
from analyzers.progress import Report
from evals.calls import doing
from evals.planted import Planted, fingerprint, planted
from evals.results import Instrument
from evals.selftest import identity, known, selftest, store

QUICK_NEURONS = 2
"""Planted neurons of each kind in the quick test: enough for one figure over all kinds, too few to judge a kind."""
QUICK_FALSE = 2
"""False explanations of each."""
QUICK_SENTENCES = 3
"""Sentences of each, one of them without activations where there is one."""


def quick() -> list[Planted]:
    """The first planted neurons of every kind, cut to a few sentences and false explanations."""
    seen: Counter[str] = Counter()
    chosen = []
    for neuron in planted():
        seen[neuron.kind] += 1
        if seen[neuron.kind] > QUICK_NEURONS:
            continue
        firing = [sentence for sentence in neuron.sentences if any(activation for _, activation in sentence)]
        silent = [sentence for sentence in neuron.sentences if sentence not in firing]
        half = QUICK_SENTENCES - min(len(silent), QUICK_SENTENCES // 2)
        sentences = firing[:half] + silent[: QUICK_SENTENCES - half]
        # One false explanation from either end of the list: a near miss or over-wide rule, and an unrelated one.
        false = neuron.false_explanations
        few = false if len(false) <= QUICK_FALSE else (*false[: QUICK_FALSE - 1], false[-1])
        chosen.append(neuron.model_copy(update={"sentences": tuple(sentences), "false_explanations": few}))
    return chosen


async def instrument(simulator: Simulator, llm: LLM | None, *, seed: int, report: Report) -> Instrument:
    """What the last selftest of exactly this simulator found; where there was none, a quick one is made and kept."""
    who = identity(simulator, llm)
    few = quick()
    found = known(who) or known(who, fingerprint(few))
    if found is None:
        with doing("selftest"):
            result = await selftest(simulator, few, seed=seed, report=report)
        store(result, who)
        found = result.instrument
    return found
