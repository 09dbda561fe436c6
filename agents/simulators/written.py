"""What simulators share that have a chat model write the levels: numbered tokens go in, rows of (number, token, level) come back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from agents.explanation import Scale, Simulation
from agents.llm import LLM, Chat, ChatReply, Message
from agents.simulators.alignment import Row, align
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load


def numbered(tokens: Sequence[str], levels: Sequence[int] | None = None) -> str:
    """`number<TAB>token` lines, from 1, with `<TAB>level` where there are levels."""
    lines = [f"{i}\t{one_line(token)}" for i, token in enumerate(tokens, start=1)]
    return "\n".join(lines if levels is None else [f"{line}\t{level}" for line, level in zip(lines, levels, strict=True)])


class Written(ABC):
    """A chat model and the prompt that it is asked by; what is asked for and how a reply is read is the subclass's."""

    scale: Scale = "level"

    def __init__(self, llm: LLM, kind: str, prompt: str) -> None:
        self._llm = llm
        self._prompt = load(prompt)
        self.name = f"{kind}({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    @abstractmethod
    def request(self, explanation: str, excerpt: Excerpt) -> Chat:
        """What is asked for one excerpt."""

    @abstractmethod
    def answer(self, tokens: Sequence[str], levels: Sequence[int]) -> str:
        """How a few-shot answer is written."""

    @abstractmethod
    def read(self, reply: ChatReply) -> Sequence[Row[float | None]] | Failed:
        """The rows of a reply, None for what is no level; Failed where it cannot have any."""

    def turns(self, explanation: str, excerpt: Excerpt) -> tuple[Message, ...]:
        """The messages: system, few-shot turns, the excerpt. A bare token of a few-shot text has level 0."""
        prompt = self._prompt
        turns = [Message(role="system", content=prompt.render("system"))]
        for example in prompt.examples:
            pairs = [(token, 0) if isinstance(token, str) else token for token in example["tokens"]]
            tokens, levels = [token for token, _ in pairs], [level for _, level in pairs]
            asked = prompt.render("user", explanation=example["explanation"], lines=numbered(tokens))
            turns += [Message(role="user", content=asked), Message(role="assistant", content=self.answer(tokens, levels))]
        described = one_line(explanation) or prompt.render("null")
        asked = prompt.render("user", explanation=described, lines=numbered(excerpt.tokens))
        return (*turns, Message(role="user", content=asked))

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt; a token without a level is missing, Failed where none has one."""
        replies = await self._llm.answer([self.request(explanation, excerpt) for excerpt in excerpts])
        return [self._simulation(reply, excerpt) for reply, excerpt in zip(replies, excerpts, strict=True)]

    def _simulation(self, reply: object, excerpt: Excerpt) -> Simulation | Failed:
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChatReply):
            raise TypeError(f"{self._llm.name!r} answered a chat with {reply!r:.80}")
        rows = self.read(reply)
        if isinstance(rows, Failed):
            return rows
        levels = align(rows, [one_line(token) for token in excerpt.tokens])
        present = np.array([level is not None for level in levels])
        if not present.any():
            return Failed("simulate", f"nothing in the reply is a token of the excerpt with a level 0-9: {reply.text[:80]!r}")
        return Simulation(np.array([level or 0.0 for level in levels], dtype=np.float32), present, "level")
