"""A model is asked for its answer to a text and for its confidence in it; each file is one prompting strategy.

After Xiong et al. (ICLR 2024, arXiv 2306.13063), in our own words. What is asked for ends as guesses, most likely first and one where no
more are asked for, or as Failed with the stage at which it failed: ask (no reply), predict (no answer in it). A guess whose confidence
cannot be read says why.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agents.beliefs import Question
from agents.llm import LLM, Chat, ChatReply, Message, Reply
from agents.self_explanations import ASK, Asking, messages
from agents.self_explanations.written import free_answer, label
from analyzers.errors import Failed
from analyzers.folder import Folder
from prompts import Prompt

__all__ = [
    "PROMPTINGS",
    "Asked",
    "Guess",
    "OneReply",
    "Outcome",
    "Prompting",
    "answered",
    "apart",
    "chat",
    "example_asking",
    "form",
    "read_whole",
]


@dataclass(frozen=True)
class Asked:
    """One answer, with its confidence, that is asked for."""

    asking: Asking
    text: str
    hint: str = ""
    """Stands below the text; empty for none."""
    temperature: float = 0.0
    seed: int = 0

    def with_hint(self, question: Question) -> Question:
        """The question with the hint below it."""
        if not self.hint:
            return question
        *before, last = question.messages
        return replace(question, messages=(*before, last.model_copy(update={"content": f"{last.content}\n\n{self.hint}"})))


@dataclass(frozen=True)
class Guess:
    """An answer that a model gives."""

    answer: str
    confidence: float | Failed
    """Stated, 0 to 1."""


@dataclass(frozen=True)
class Outcome:
    """What came of one Asked."""

    guesses: tuple[Guess, ...] | Failed
    """Most likely first, at least one."""
    written: tuple[str, ...]
    """[conversation] what the model wrote, without what was begun for it."""


class Prompting(Protocol):
    """One way to ask for an answer and its confidence."""

    name: str
    prompts: tuple[Prompt, ...]
    ranked: bool
    """Whether several guesses are asked for, in their order."""

    def requests(self, llm: LLM, asked: Sequence[Asked]) -> list[Chat]:
        """All that will be asked of the model at most, with something in the place of what is not known yet."""

    async def __call__(self, llm: LLM, asked: Sequence[Asked]) -> list[Outcome]:
        """[asked] what came of each; all are asked together. Raises what the model raises (no access, a limit)."""


PROMPTINGS: Folder[Prompting] = Folder("agents.confidences", "prompting strategy")


class OneReply(ABC):
    """What those strategies share that need one reply."""

    name: str
    prompts: tuple[Prompt, ...]
    ranked: bool = False

    @abstractmethod
    def question(self, asked: Asked) -> Question:
        """What is asked, without the hint."""

    @abstractmethod
    def read(self, text: str, asking: Asking, *, cut_off: bool) -> tuple[Guess, ...] | Failed:
        """From the whole reply; cut_off: whether it was broken off for its length."""

    def requests(self, llm: LLM, asked: Sequence[Asked]) -> list[Chat]:
        """One for each."""
        return [chat(llm, each, self.question(each)) for each in asked]

    async def __call__(self, llm: LLM, asked: Sequence[Asked]) -> list[Outcome]:
        """[asked] what the reply to each says."""
        replies = await llm.answer(self.requests(llm, asked))
        return [self._outcome(llm, each, reply) for each, reply in zip(asked, replies, strict=True)]

    def _outcome(self, llm: LLM, asked: Asked, reply: Reply | Failed) -> Outcome:
        text = read_whole(llm, self.question(asked), reply)
        if isinstance(text, Failed):
            return Outcome(text, ())
        assert isinstance(reply, ChatReply)
        return Outcome(self.read(text, asked.asking, cut_off=reply.finish == "length"), (reply.text,))


def chat(llm: LLM, asked: Asked, question: Question) -> Chat:
    """The request for one reply to a question, with the hint."""
    return Chat(
        messages=asked.with_hint(question).opened(llm),
        max_tokens=question.max_tokens,
        stop=question.stop,
        temperature=asked.temperature,
        seed=asked.seed,
    )


def form(asking: Asking, text: str, lines: Callable[[Asking], Sequence[str]], shown: str) -> tuple[Message, ...]:
    """The conversation that asks for these lines, behind an example of such a reply where one is wanted."""
    before: tuple[Message, ...] = ()
    if asking.example:
        example, of = example_asking(asking)
        before = (messages(example, of, lines(example))[-1], Message(role="assistant", content=shown))
    return messages(asking, text, lines(asking), before=before)


def example_asking(asking: Asking) -> tuple[Asking, str]:
    """What examples ask, and the text that they ask it about."""
    about = ASK.examples[0]
    return replace(asking, instruction=about["instruction"], labels=tuple(about["labels"]), demonstrations=()), about["text"]


def read_whole(llm: LLM, question: Question, reply: Reply | Failed) -> str | Failed:
    """A reply with what was begun for the model, where it goes on with what is begun."""
    if isinstance(reply, Failed):
        return reply
    if not isinstance(reply, ChatReply):
        raise TypeError(f"{llm.name!r} answered a chat with {reply!r:.80}")
    begun = len(question.opened(llm)) > len(question.messages)
    return f"{question.lead} {reply.text.lstrip()}" if begun else reply.text


def answered(text: str, asking: Asking, field: str = "Answer") -> str | Failed:
    """The answer behind a field of the reply: one of the labels, or a free one."""
    return label(text, asking.labels, field) if asking.labels else free_answer(text, field)


def apart(text: str, fields: str) -> str:
    """The reply with every field on a line of its own; fields: a regular expression of their names."""
    return re.sub(rf"[ \t,;|]{{1,9}}(?=[*_]{{0,3}}(?:{fields})[*_]{{0,3}} ?[:：=])", "\n", text, flags=re.IGNORECASE)
