"""Test a simulator, or scorers, by name on planted neurons and keep the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.simulators import SIMULATORS
from analyzers.errors import AssetError, ExplicateError, ProviderError
from analyzers.progress import Report, quiet
from evals.calls import Calls, check_base_url, doing
from evals.kept_tests import identity, store
from evals.label_config import Limits
from evals.planted import planted
from evals.ranking import judged
from evals.results import Value
from evals.scorers import SCORERS
from evals.scoring.ensemble import ENSEMBLE, members
from evals.selftest import SelftestResult, selftest
from evals.selftest_scorers import ScorerTest, try_ensemble, try_scorer

ALL = "all"


async def run_selftest(
    spec: str, file: Path | None, *, limits: Limits, base_url: str | None = None, seed: int = 0, report: Report = quiet
) -> tuple[SelftestResult, Path]:
    """Connect, test, store; returns the result and the file it is kept in. spec: as in `connect`, or `lexical`."""
    limits.check()
    check_base_url(base_url, spec)
    neurons = planted(file)
    async with Calls(limits, base_url=base_url, report=report) as calls:
        llm = await calls.connect(spec, "simulator")
        simulator = SIMULATORS.create("lexical") if llm is None else SIMULATORS.pick(llm)
        with doing("selftest"):
            result = await selftest(simulator, neurons, seed=seed, report=report)
        return result, store(result, identity("simulator", simulator, llm))


@dataclass(frozen=True)
class ScorerTests:
    """Several scorers around one language model, tested on the same planted neurons."""

    tests: dict[str, ScorerTest]
    """By the name of the scorer."""
    unserved: dict[str, str]
    """Scorers that this language model cannot serve, or that lack something else, and why."""

    @property
    def judged(self) -> dict[str, list[str]]:
        """By scorer the kinds that it judges, with luck held against all scorers and kinds together."""
        return dict(zip(self.tests, judged(list(self.tests.values())), strict=True))

    @property
    def best(self) -> dict[str, str | None]:
        """By kind the scorer that ranks most false explanations below the true one, among those that judge the kind; None where none does.

        Chosen on the neurons that it is tested on, so its own figure flatters it a little.
        """
        kinds = dict.fromkeys(kind for test in self.tests.values() for kind in test.kinds)
        chosen: dict[str, str | None] = {}
        judges = self.judged
        for kind in kinds:
            able = {name: test.kinds[kind].within for name, test in self.tests.items() if kind in judges[name]}
            figures = {name: value.value for name, value in able.items() if isinstance(value, Value)}
            chosen[kind] = max(figures, key=lambda name: figures[name]) if figures else None
        return chosen


async def run_scorer_tests(
    spec: str,
    names: Sequence[str],
    file: Path | None,
    *,
    limits: Limits,
    base_url: str | None = None,
    seed: int = 0,
    report: Report = quiet,
) -> ScorerTests:
    """Connect, test each scorer and all of them together, store; names: of scorers, or `all`.

    Raises ProviderError for a scorer that is named and cannot be served; of all, those that cannot are told in `unserved`.
    """
    limits.check()
    check_base_url(base_url, spec)
    neurons = planted(file)
    asked = list(SCORERS.entries()) if list(names) == [ALL] else list(dict.fromkeys(names))
    if not asked:
        raise ExplicateError(f"--scorers names none; write {ALL}, or some of {', '.join(SCORERS.entries())}")
    unserved: dict[str, str] = {}
    tests: dict[str, ScorerTest] = {}
    async with Calls(limits, base_url=base_url, report=report) as calls:
        llm = await calls.connect(spec, "simulator")
        scorers = {}
        for name in asked:
            try:
                scorers[name] = SCORERS.create(name, llm)
            except ProviderError as error:
                if list(names) != [ALL]:
                    raise
                unserved[name] = str(error)
        for name, scorer in scorers.items():
            try:
                with doing("selftest"):
                    tests[name] = await try_scorer(scorer, neurons, seed=seed, report=report)
            except AssetError as error:
                # What a scorer needs beside the model, such as embeddings, cannot be had: the others need not go without a test.
                if list(names) != [ALL]:
                    raise
                unserved[name] = str(error)
                continue
            store(tests[name], identity("scorer", scorer, llm if SCORERS.entries()[name].needs is not None else None))
    together = {name: tests[name] for name in members(scorers) if name in tests}
    if len(together) > 1:
        tests[ENSEMBLE] = try_ensemble(ENSEMBLE, together, neurons, seed=seed)
    return ScorerTests(tests, unserved)
