"""What a labelling run is about to ask of its language models: calls, tokens, money and, where the pace is known, time; all at most."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from agents.budget import Budget, Forecast
from agents.llm import LLM, Request
from analyzers.evidence import Excerpt
from evals.calls import AGENT
from evals.instrument import quick
from evals.judging import OPPONENTS
from evals.label_config import LabelConfig
from evals.scorers import Scorer
from evals.scoring.ensemble import members
from evals.scoring.material import Material
from evals.work import Work

JUDGED = OPPONENTS + 3
"""Explanations of a site that members of an ensemble judge: its own, the shuffled one, those lent, and the empty one."""
SAID = "word " * 30
"""In place of explanations that are not known yet: counted as more tokens than an explainer may write."""


@runtime_checkable
class _Explains(Protocol):
    def requests(self, excerpts: Sequence[Excerpt], *, candidates: int, seed: int) -> Sequence[Request]: ...


@runtime_checkable
class _Simulates(Protocol):
    def request(self, explanation: str, excerpt: Excerpt) -> Request: ...


@runtime_checkable
class _Asks(Protocol):
    def requests(self, explanations: Sequence[str], material: Material, seed: int) -> Sequence[Request]: ...


def forecast(
    works: Sequence[Work],
    config: LabelConfig,
    *,
    explainer: object,
    explains: LLM | None,
    simulator: object,
    simulates: LLM | None,
    scorers: Mapping[str, Scorer],
    budget: Budget,
) -> tuple[str, Forecast]:
    """One line for the user and what it says, counted as each call is held against the limits (`agents.budget.estimate`); what is in the
    cache costs nothing, so it is more than what will be taken."""
    total, said = Forecast(), []
    if explains is not None and isinstance(explainer, _Explains):
        explanations = [
            request
            for work in works
            if work.evidence.peak > 0
            for request in explainer.requests(work.evidence.splits["explain"], candidates=config.candidates, seed=config.seed)
        ]
        total += budget.forecast(explains.name, explanations)
        said.append(f"{len(explanations)} explanations to ask for")
    if config.explainer.startswith(AGENT):
        firing = sum(work.evidence.peak > 0 for work in works)
        said.append(f"{firing * config.experiment.steps} calls of an explainer that experiments (whose tokens are not known before)")
    if simulates is not None and isinstance(simulator, _Simulates):
        asked = [
            (text, excerpt)
            for neuron in quick()
            for text in (neuron.explanation, *neuron.false_explanations, "")
            for excerpt in neuron.excerpts()
        ]
        tests = len(asked)
        for work in works:
            splits = work.evidence.splits
            scored = (*splits["test"], *splits["calibrate"])
            # The explanation and the shuffled control, each candidate where there is a choice, and the null simulation beside them.
            asked += [(text, excerpt) for text in (SAID, SAID, "") for excerpt in scored]
            asked += [
                (text, excerpt) for text in ("", *[SAID] * config.candidates) for excerpt in splits["select"] if config.candidates > 1
            ]
        total += budget.forecast(simulates.name, (simulator.request(text, excerpt) for text, excerpt in asked))
        said.append(f"{len(asked)} excerpts to simulate, {tests} of these to test the simulator")
    if simulates is not None and scorers:
        texts = [SAID] * (JUDGED if len(members(scorers)) > 1 else 3)
        asking = {name: scorer for name, scorer in scorers.items() if isinstance(scorer, _Asks)}
        questions = [
            request
            for scorer in asking.values()
            for work in works
            if work.material is not None
            for request in scorer.requests(texts, work.material, config.seed)
        ]
        total += budget.forecast(simulates.name, questions)
        others = [name for name in scorers if name not in asking]
        said.append(f"{len(questions)} questions of scorers" + (f" (not counting {', '.join(others)} and their tests)" if others else ""))
    if not said:
        return f"{len(works)} sites, and no language model to ask", total
    money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
    time = "" if total.seconds is None else f", about {total.seconds / 60:.0f} min"
    tokens_said = f"{total.prompt_tokens:,} prompt and {total.completion_tokens:,} completion tokens"
    return f"{len(works)} sites: up to {' and '.join(said)}: {tokens_said}, {money}{time}, less what is in the cache", total
