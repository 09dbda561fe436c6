"""What a rescoring is about to ask of its language model: calls, tokens, money and, where the pace is known, time; all at most."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agents.budget import Budget, Forecast
from agents.llm import LLM, Request
from agents.simulators import Simulator
from analyzers.evidence import Excerpt
from evals.exchange.work import Work
from evals.instrument import quick


@runtime_checkable
class _Simulates(Protocol):
    def request(self, explanation: str, excerpt: Excerpt) -> Request: ...


def forecast(works: Sequence[Work], simulator: Simulator, llm: LLM | None, budget: Budget) -> tuple[str, Forecast]:
    """One line for the user, and what it says; what is in the cache costs nothing."""
    scored = [work for work in works if work.can_be_scored]
    if llm is None or not isinstance(simulator, _Simulates):
        return f"{len(scored)} of {len(works)} sites to score, and no language model to ask", Forecast()
    asked = _tests()
    tests = len(asked)
    for work in scored:
        records = (*work.dealt["test"], *work.dealt["calibrate"])
        longest = max((told.text for told in work.told), key=len)
        asked += [(text, excerpt) for text in (longest, longest, "") for excerpt in records]
        if len(work.told) > 1:
            asked += [(text, excerpt) for text in ("", *(told.text for told in work.told)) for excerpt in work.dealt["select"]]
    total = budget.forecast(llm.name, (simulator.request(text, excerpt) for text, excerpt in asked))
    money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
    time = "" if total.seconds is None else f", about {total.seconds / 60:.0f} min"
    said = f"{total.prompt_tokens:,} prompt and {total.completion_tokens:,} completion tokens, {money}{time}, less what is in the cache"
    counted = f"up to {len(asked)} records to simulate, {tests} of these to test the simulator"
    return f"{len(scored)} of {len(works)} sites to score: {counted}: {said}", total


def _tests() -> list[tuple[str, Excerpt]]:
    """What the test of the simulator asks."""
    return [
        (text, excerpt)
        for neuron in quick()
        for text in (neuron.explanation, *neuron.false_explanations, "")
        for excerpt in neuron.excerpts()
    ]
