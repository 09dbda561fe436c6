"""What a labelling run is about to ask of its language models: calls, tokens, money and, where the pace is known, time; all at most."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agents.budget import Budget, Forecast
from agents.llm import LLM, Message, Request
from analyzers.evidence import Excerpt
from evals.instrument import quick
from evals.label_config import LabelConfig
from evals.work import Work

LETTERS_A_TOKEN = 4
"""Of English text; tables and other scripts have fewer."""
SAID = "the word of an explanation of usual length"


@runtime_checkable
class _Explains(Protocol):
    def messages(self, excerpts: Sequence[Excerpt]) -> list[Message]: ...


@runtime_checkable
class _Simulates(Protocol):
    def request(self, explanation: str, excerpt: Excerpt) -> Request: ...


def forecast(
    works: Sequence[Work],
    config: LabelConfig,
    *,
    explainer: object,
    explains: LLM | None,
    simulator: object,
    simulates: LLM | None,
    budget: Budget,
) -> str:
    """One line for the user. What is in the cache costs nothing, and what prompts share is computed once by a local model, so it is more
    than what will be taken."""
    total, said = Forecast(), []
    if explains is not None and isinstance(explainer, _Explains):
        firing = [work for work in works if work.evidence.peak > 0]
        prompts = [sum(len(message.content) for message in explainer.messages(work.evidence.splits["explain"])) for work in firing]
        calls = len(firing) * config.candidates
        tokens = config.candidates * sum(prompts) // LETTERS_A_TOKEN
        total += budget.forecast(explains.name, calls=calls, prompt_tokens=tokens, completion_tokens=calls * len(SAID) // LETTERS_A_TOKEN)
        said.append(f"{calls} explanations to ask for")
    if simulates is not None and isinstance(simulator, _Simulates):
        tests = [excerpt for neuron in quick() for excerpt in neuron.excerpts() for _ in range(2 + len(neuron.false_explanations))]
        asked = [*tests]
        for work in works:
            splits = work.evidence.splits
            asked += [*splits["test"] * 3, *splits["calibrate"] * 3]
            asked += splits["select"] * (1 + config.candidates) if config.candidates > 1 else ()
        prompt = completion = 0
        for excerpt in asked:
            letters, written = _size(simulator.request(SAID, excerpt))
            prompt, completion = prompt + letters // LETTERS_A_TOKEN, completion + written
        total += budget.forecast(simulates.name, calls=len(asked), prompt_tokens=prompt, completion_tokens=completion)
        said.append(f"{len(asked)} excerpts to simulate, {len(tests)} of these to test the simulator")
    if not said:
        return f"{len(works)} sites, and no language model to ask"
    money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
    time = "" if total.seconds is None else f", about {total.seconds / 60:.0f} min"
    tokens_said = f"{total.prompt_tokens:,} prompt and {total.completion_tokens:,} completion tokens"
    return f"{len(works)} sites: up to {' and '.join(said)}: {tokens_said}, {money}{time}, less what is in the cache"


def _size(request: Request) -> tuple[int, int]:
    """Letters that are sent and tokens that may come back."""
    if request.kind == "readout":
        return len(request.prefix) + len(request.head) + sum(map(len, request.pieces)), 0
    return sum(len(message.content) for message in request.messages), request.max_tokens
