"""What a model holds of a text: how sure it is of each answer. Each file is one way to find out.

The ways are not interchangeable: a probability of the answer's tokens, a share of samples and a stated confidence are three quantities.
A run uses one of them and says which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agents.llm import LLM, Message, Reply, Request
from agents.registry import Registry
from analyzers.errors import Failed

__all__ = ["OTHER", "READERS", "Belief", "Question", "Reader", "believe"]

OTHER = "(another answer)"
"""Stands for all answers but the one whose probability is read, where answers are free."""


@dataclass(frozen=True)
class Belief:
    """The model's answer to one text and the probabilities it gives to all answers."""

    label: str | None
    """Its answer; None where it is undecided. Not always the answer of the largest probability: stated confidence may be below chance."""
    probabilities: Mapping[str, float]
    mass: float | None = None
    """Probability that it gives any of the answers at all, or the share of samples that do, where that is known."""

    @classmethod
    def likeliest(cls, probabilities: Mapping[str, float], mass: float | None = None) -> "Belief":
        """The answer is the one of the largest probability; none where two share it."""
        largest = max(probabilities.values())
        first = [label for label, probability in probabilities.items() if probability == largest]
        return cls(first[0] if len(first) == 1 else None, probabilities, mass)

    @classmethod
    def stated(cls, label: str, confidence: float, labels: tuple[str, ...]) -> "Belief":
        """From an answer and a stated confidence in it, 0 to 1; the other answers share the rest."""
        rest = (1 - confidence) / (len(labels) - 1)
        return cls(label, {name: confidence if name == label else rest for name in labels})

    @classmethod
    def undecided(cls, labels: tuple[str, ...]) -> "Belief":
        """All answers alike: what the 2023 paper takes a text without any unit for."""
        return cls(None, dict.fromkeys(labels, 1 / len(labels)))


@dataclass(frozen=True)
class Question:
    """A conversation that the model is to answer."""

    messages: tuple[Message, ...]
    labels: tuple[str, ...]
    """What it may answer; one answer alone where answers are free and the probability of that one is asked for; none where it is free."""
    lead: str = ""
    """How its reply begins, up to the answer: `Answer:`. Empty where something else comes before the answer."""
    max_tokens: int = 24
    """For as much of the reply as is read."""
    stop: tuple[str, ...] = ()

    @property
    def answers(self) -> tuple[str, ...]:
        """All answers that a belief has probabilities of."""
        return self.labels if len(self.labels) != 1 else (*self.labels, OTHER)

    def opened(self, llm: LLM) -> tuple[Message, ...]:
        """The conversation with the reply begun, where the model goes on with what is begun."""
        begun = bool(self.lead) and "prefill" in llm.capabilities
        return (*self.messages, Message(role="assistant", content=self.lead)) if begun else self.messages

    def about(self, answer: str) -> "Question":
        """The same where answers are free, to find out how likely this one is."""
        return self if self.labels else replace(self, labels=(answer,))


class Reader(Protocol):
    """One way to find out what a model holds of a text."""

    name: str

    def requests(self, question: Question) -> Sequence[Request]:
        """What is asked of the model; equal requests are asked once."""

    def read(self, question: Question, replies: Sequence[Reply | Failed]) -> Belief | Failed:
        """From the replies to these requests; Failed where there is no answer in them."""


READERS: Registry[Reader] = Registry("agents.beliefs", "belief")


async def believe(llm: LLM, reader: Reader, questions: Sequence[Question]) -> list[Belief | Failed]:
    """[question] what the model holds of each; all are asked together. Raises what the model raises (no access, a limit).

    Where answers are free, each question must be about one answer.
    """
    if not all(question.labels for question in questions):
        raise ValueError("a question is about no answer whose probability could be read")
    asked = [reader.requests(question) for question in questions]
    replies = iter(await llm.answer([request for requests in asked for request in requests]))
    return [reader.read(question, [next(replies) for _ in requests]) for question, requests in zip(questions, asked, strict=True)]
