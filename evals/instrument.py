"""How good the simulator of a run is at telling true explanations from false ones: looked up, or tested on a few planted neurons."""

from collections import Counter
from collections.abc import Mapping

from agents.llm import LLM
from agents.simulators import Simulator
from analyzers.progress import Report
from evals.calls import doing
from evals.kept_tests import identity, known, store
from evals.planted import Planted, fingerprint, planted
from evals.results import Instrument
from evals.scorers import SCORERS, Scorer
from evals.scoring.ensemble import ENSEMBLE, members
from evals.selftest import SelftestResult, selftest
from evals.selftest_scorers import ScorerTest, try_ensemble, try_scorer

QUICK_NEURONS = {"word": 4, "word-class": 3, "conditional": 3}
"""Planted neurons of the quick test, by kind: what most labels of neurons claim, and the kind that weak simulators fail. With fewer than
three a kind would not be judged at all; the other kinds count as not judged."""
QUICK_FALSE = 2
"""False explanations of each."""
QUICK_SENTENCES = 3
"""Sentences of each, one of them without activations where there is one."""


def quick() -> list[Planted]:
    """The first planted neurons of some kinds, cut to a few sentences and false explanations."""
    seen: Counter[str] = Counter()
    chosen = []
    for neuron in planted():
        seen[neuron.kind] += 1
        if seen[neuron.kind] > QUICK_NEURONS.get(neuron.kind, 0):
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
    who = identity("simulator", simulator, llm)
    found = known(who, SelftestResult)
    if found is not None:
        return found.instrument
    few = quick()
    found = known(who, SelftestResult, fingerprint(few))
    if found is None:
        with doing("selftest"):
            found = await selftest(simulator, few, seed=seed, report=report)
        store(found, who)
    return _quickly(found.instrument)


async def scorer_test(name: str, scorer: Scorer, llm: LLM | None, *, seed: int, report: Report) -> ScorerTest:
    """The same of a scorer: its last selftest with this model, or else a quick one."""
    who = identity("scorer", scorer, llm if SCORERS.entries()[name].needs is not None else None)
    few = quick()
    found = known(who, ScorerTest) or known(who, ScorerTest, fingerprint(few))
    if found is None:
        with doing("selftest"):
            found = await try_scorer(scorer, few, seed=seed, report=report)
        store(found, who)
    return found


def instruments_of(tests: Mapping[str, ScorerTest], scorers: Mapping[str, Scorer], seed: int) -> dict[str, Instrument]:
    """What stands beside the figures of scorers by how they were tested, and beside that of their ensemble, where all its members were
    tested on the same planted neurons."""
    every = dict(tests)
    together = {name: tests[name] for name in members(scorers) if name in tests}
    sets = {fingerprint(neurons): neurons for neurons in (planted(), quick())}
    tested_on = {test.planted for test in together.values()}
    if len(together) > 1 and len(tested_on) == 1 and tested_on <= sets.keys():
        every[ENSEMBLE] = try_ensemble(ENSEMBLE, together, sets[tested_on.pop()], seed=seed)
    whole = fingerprint(planted())
    return {name: test.instrument if test.planted == whole else _quickly(test.instrument) for name, test in every.items()}


def _quickly(tested: Instrument) -> Instrument:
    """With the kinds that a quick test leaves out among those that are not judged."""
    untested = [kind for kind in dict.fromkeys(neuron.kind for neuron in planted()) if kind not in QUICK_NEURONS]
    return tested.model_copy(update={"cannot_judge": [*tested.cannot_judge, *untested]})
