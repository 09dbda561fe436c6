"""One site's experiment as it goes on: what was called, what it found, which hypotheses there are and what is concluded.

It is the same whoever decides what to try next: an agent with tools, a fixed plan, or the rows of an earlier experiment.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.experimenter import arguments as a
from agents.experimenter.bench import FIRES, Bench
from agents.experimenter.hypotheses import Hypotheses
from agents.experimenter.limits import ExperimentLimits
from agents.experimenter.outcome import Clause
from agents.experimenter.rows import Start, Step
from agents.explainers.leakage import quotation
from agents.explainers.reply import read_explanation
from agents.llm import ChatReply
from agents.untrusted import one_line
from analyzers.errors import Failed
from prompts import Prompt


@dataclass(frozen=True)
class Result:
    """What a call came to."""

    number: int | None
    """Of the experiment, from 1; None for what is none."""
    data: Mapping[str, Any]
    """A JSON object; `{"error": ...}` where the call failed."""

    @property
    def failed(self) -> bool:
        return "error" in self.data


class Session:
    """Performs the calls of tools, one after the other, and keeps each as a row."""

    def __init__(self, bench: Bench, limits: ExperimentLimits, start: Start, prompt: Prompt) -> None:
        """prompt: with the sections of what is said to a model whose call fails."""
        self.bench = bench
        self.limits = limits
        self.start = start
        self.hypotheses = Hypotheses()
        self.steps: list[Step] = []
        self.calls = 0
        """Of tools, against the limit."""
        self.experiments = 0
        self.accepted = False
        """Whether there is an answer that is not sent back."""
        self.confidence: float | None = None
        self._prompt = prompt
        self._scored = 0
        self._stated: tuple[a.StatedClause, ...] = ()
        self._loud = set(start.loud)
        self._one_at_a_time = asyncio.Lock()

    @property
    def loud(self) -> frozenset[str]:
        """Tokens that the site was seen to fire on."""
        return frozenset(self._loud)

    @property
    def spent(self) -> str:
        """Which limit of this site is used up; empty where none is."""
        limit = self.limits.tool_calls
        return f"the limit of {limit} tool calls is reached" if self.calls >= limit else ""

    async def perform(self, name: str, arguments: Mapping[str, Any] | None, raw: str = "") -> Result:
        """Call a tool; a call that fails is a result that says so, for the model to read. arguments: None where they are no JSON object,
        and `raw` is what was written instead. Raises what scoring on select raises (a limit, no access)."""
        async with self._one_at_a_time:
            result = await self._perform(name, arguments)
            self.steps.append(
                Step(name=name, arguments=arguments, raw="" if arguments is not None else raw, experiment=result.number, result=result.data)
            )
            return result

    async def _perform(self, name: str, arguments: Mapping[str, Any] | None) -> Result:
        if self.accepted:
            return self._error("over")
        if name != "conclude":
            if self.spent:
                return self._error("spent", limit=self.spent)
            self.calls += 1
        if name not in a.TOOLS:
            return self._error("unknown", name=one_line(name), names=", ".join(a.TOOLS))
        if arguments is None:
            return self._error("malformed")
        read = a.read(name, arguments)
        if isinstance(read, str):
            return self._error("invalid", wrong=one_line(read))
        if isinstance(read, a.Conclude):
            return self._conclude(read)
        if isinstance(read, a.NoteHypothesis):
            return self._note(read)
        if isinstance(read, a.ScoreOnSelect) and self._scored >= self.limits.select_scores:
            return self._error("scored", limit=str(self.limits.select_scores))
        found = await self.bench.measure(name, read)
        if isinstance(found, Failed):
            return Result(None, {"error": one_line(found.reason)})
        self.experiments += 1
        self._loud |= _loud(found)
        if isinstance(read, a.ScoreOnSelect):
            self._scored += 1
            self.hypotheses.of(_phrase(read.explanation)).score = float(found["score"])
        return Result(self.experiments, found)

    def _note(self, noted: a.NoteHypothesis) -> Result:
        if missing := self._missing([*noted.evidence_for, *noted.evidence_against]):
            return self._error("cites", missing=missing, made=str(self.experiments))
        hypothesis = self.hypotheses.of(_phrase(noted.text))
        hypothesis.status = noted.status
        # The latest word on an experiment counts; one of several texts may speak both for and against.
        speaks_for, speaks_against = set(noted.evidence_for), set(noted.evidence_against)
        hypothesis.support = (hypothesis.support - speaks_against) | speaks_for
        hypothesis.against = (hypothesis.against - speaks_for) | speaks_against
        return Result(None, {"noted": hypothesis.number, "for": sorted(hypothesis.support), "against": sorted(hypothesis.against)})

    def _conclude(self, answer: a.Conclude) -> Result:
        before = bool(self._stated)
        self._stated, self.confidence = tuple(answer.clauses), answer.confidence
        problems = [problem for number, clause in enumerate(answer.clauses, start=1) for problem in self._problems(number, clause)]
        if problems and not before:
            return Result(None, {"error": self._prompt.render("error unsupported"), "problems": problems})
        self.accepted = bool(self.clauses())
        return Result(None, {"accepted": self.accepted, "problems": problems})

    def _problems(self, number: int, clause: a.StatedClause) -> Iterator[str]:
        if isinstance(text := self._read(clause.text), Failed):
            yield self._prompt.render("problem unreadable", number=str(number), reason=one_line(text.reason))
        if not clause.experiments:
            yield self._prompt.render("problem bare", number=str(number))
        elif missing := self._missing(clause.experiments):
            yield self._prompt.render("problem cites", number=str(number), missing=missing, made=str(self.experiments))

    def clauses(self) -> tuple[Clause, ...]:
        """Of the last answer that was given, whether or not it was sent back; those that only quote the excerpts, or are no explanation,
        are left out, those without an experiment are marked. Empty where there is none."""
        found = []
        for clause in self._stated:
            text = self._read(clause.text)
            if not isinstance(text, Failed):
                cited = tuple(sorted({number for number in clause.experiments if 1 <= number <= self.experiments}))
                found.append(Clause(text, cited, bool(cited)))
        return tuple(found)

    def best(self) -> tuple[Clause, ...]:
        """The best hypothesis so far as the only clause; empty where there is none."""
        for hypothesis in self.hypotheses.best_first():
            text = self._read(hypothesis.text)
            if not isinstance(text, Failed):
                return (Clause(text, tuple(sorted(hypothesis.support)), bool(hypothesis.support)),)
        return ()

    def _missing(self, cited: Sequence[int]) -> str:
        return ", ".join(str(number) for number in sorted(set(cited)) if not 1 <= number <= self.experiments)

    def _read(self, text: str) -> str | Failed:
        read = read_explanation(ChatReply(text=_phrase(text)), lead="")
        if isinstance(read, Failed):
            return read
        quoted = quotation(read, loud=self._loud, excerpts=[excerpt.text for excerpt in self.start.excerpts])
        return read if quoted is None else Failed("explain", f"it {quoted}")

    def _error(self, section: str, **variables: str) -> Result:
        return Result(None, {"error": self._prompt.render(f"error {section}", **variables)})


def _phrase(text: str) -> str:
    """On one line and without semicolons, which divide the clauses of an explanation."""
    return " ".join(text.replace(";", ",").split())


def _loud(node: Any) -> set[str]:
    """Tokens that the site fires on, wherever a result lists them."""
    if isinstance(node, Mapping):
        listed = {str(token) for token, strength in node.get("loudest", ()) if strength >= FIRES}
        return listed.union(*(_loud(each) for each in node.values()))
    if isinstance(node, list | tuple):
        return set().union(*(_loud(each) for each in node)) if node else set()
    return set()
