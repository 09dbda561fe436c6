"""How far an experimenter may go on one site; money, and the tokens of the whole run, are the budget's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.budget import estimate, tokens_at_most
from agents.llm import LLM, Capability, Reply, Request
from analyzers.errors import ExplicateError, Failed, LimitReached


@dataclass(frozen=True)
class ExperimentLimits:
    """Of one site; raises ExplicateError for a limit below 1."""

    steps: int = 24
    """Calls of the language model."""
    tool_calls: int = 60
    """Calls of tools, failed ones included; concluding is none."""
    tokens: int | None = None
    """Of prompts and replies at their upper estimate (two bytes a token), so that a run that goes on from its cache stops at the same
    place. None: no limit."""
    select_scores: int = 8
    """Explanations that may be scored on the select split."""
    rounds: int = 2
    """Of writing texts, measuring and revising, for a model without tools."""
    max_tokens: int = 1024
    """Of one reply."""

    def __post_init__(self) -> None:
        for name in ("steps", "tool_calls", "tokens", "select_scores", "rounds", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ExplicateError(f"the limit {name} of an experiment is {value}; give 1 or more")


class Spent(LimitReached):
    """A limit of one experiment is met: this site ends with what it has, the run goes on."""


class Tallied:
    """A language model that counts what one site takes of it; asked beyond a limit it raises Spent."""

    def __init__(self, base: LLM, limits: ExperimentLimits) -> None:
        self.name = base.name
        self.identity: Mapping[str, str] = base.identity
        self.capabilities: frozenset[Capability] = base.capabilities
        self.steps = 0
        self.tokens = 0
        """At their upper estimate."""
        self.stop = ""
        """Why nothing more is to be asked, where something else than steps and tokens is used up."""
        self._base = base
        self._limits = limits

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """One outcome a request, in order; raises Spent before a request that does not fit, and what the model raises."""
        limits = self._limits
        if self.stop:
            raise Spent(self.stop)
        expected = [estimate(request, None) for request in requests]
        if self.steps + len(requests) > limits.steps:
            raise Spent(f"the limit of {limits.steps} steps is reached")
        if limits.tokens is not None and self.tokens + sum(each.tokens for each in expected) > limits.tokens:
            raise Spent(f"the limit of {limits.tokens} tokens is reached")
        self.steps += len(requests)
        outcomes = await self._base.answer(requests)
        for before, outcome in zip(expected, outcomes, strict=True):
            self.tokens += before.prompt_tokens + (0 if isinstance(outcome, Failed) else _written(outcome))
        return outcomes


def _written(reply: Reply) -> int:
    if reply.kind == "tools":
        return tokens_at_most(reply.text) + sum(tokens_at_most(call.arguments) + 8 for call in reply.tool_calls)
    return tokens_at_most(reply.text) if reply.kind == "chat" else 1
