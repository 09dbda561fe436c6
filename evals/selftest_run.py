"""Test a simulator by name on planted neurons and keep the result."""

from pathlib import Path

from agents.simulators import SIMULATORS
from analyzers.progress import Report, quiet
from evals.calls import Calls, check_base_url, doing
from evals.label_config import Limits
from evals.planted import planted
from evals.selftest import SelftestResult, identity, selftest, store


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
        return result, store(result, identity(simulator, llm))
