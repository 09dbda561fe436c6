"""What explainers share that show a chat model excerpts after few-shot examples.

Several explanations of one site come from one conversation: asked for, read, checked for leakage, and merged where they agree.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from agents.explainers.leakage import leak, quotation
from agents.explainers.reply import read_explanation
from agents.explanation import Explanation
from agents.llm import LLM, Chat, ChatReply, Message
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

TEMPERATURE = 0.8
"""Of all candidates but the first, which is greedy."""
LOUD = 0.3
"""Share of the loudest activation from which a token is one that the site fires on."""


Levelled = Sequence[tuple[str, int]]
"""Tokens of an excerpt with their activation levels."""


class FewShot(ABC):
    """A chat model and the prompt that it is asked by; which excerpts are shown, and how, is the subclass's.

    The prompt's section `lead` is how an answer begins: put in the model's mouth where it can be (capability `prefill`). A token of an
    example is a pair with its level, or bare where that is 0.
    """

    def __init__(self, llm: LLM, kind: str, prompt: str, *, max_tokens: int) -> None:
        self._llm = llm
        self._prompt = load(prompt)
        self._max_tokens = max_tokens
        self._examples = [
            [[(part, 0) if isinstance(part, str) else (part[0], part[1]) for part in excerpt] for excerpt in example["excerpts"]]
            for example in self._prompt.examples
        ]
        self.name = f"{kind}({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    @abstractmethod
    def chosen(self, excerpts: Sequence[Excerpt]) -> Sequence[Levelled]:
        """The excerpts that are shown, of those of a site that fires in them."""

    @abstractmethod
    def user(self, shown: Sequence[Levelled]) -> str:
        """The turn that shows them."""

    def messages(self, excerpts: Sequence[Excerpt]) -> list[Message]:
        """The conversation: the task, one turn an example, and the excerpts."""
        prompt = self._prompt
        turns = [Message(role="system", content=prompt.render("system"))]
        for example, shown in zip(prompt.examples, self._examples, strict=True):
            answer = prompt.render("assistant", lead=prompt.render("lead"), explanation=example["explanation"])
            turns += [Message(role="user", content=self.user(shown)), Message(role="assistant", content=answer)]
        return [*turns, Message(role="user", content=self.user(self.chosen(excerpts)))]

    def requests(self, excerpts: Sequence[Excerpt], *, candidates: int, seed: int) -> list[Chat]:
        """What is asked for one site that fires, a request a candidate."""
        messages = self.messages(excerpts)
        stop: tuple[str, ...] = ()
        if "prefill" in self._llm.capabilities:
            messages, stop = [*messages, Message(role="assistant", content=self._prompt.render("lead"))], ("\n",)
        return [
            Chat(messages=tuple(messages), max_tokens=self._max_tokens, temperature=TEMPERATURE if i else 0.0, seed=seed + i, stop=stop)
            for i in range(candidates)
        ]

    async def explain(self, excerpts: Sequence[Excerpt], *, candidates: int, seed: int) -> list[Explanation | Failed]:
        """Up to `candidates` outcomes in the order they were asked, the greedy one first, without those that repeat an earlier one.

        An explanation that takes from the examples what no excerpt has is a Failed, and so is one that only quotes text on which the
        site is silent. Failed, too, where the site fires in none of the excerpts.
        """
        peak = max((float(excerpt.activations.max()) for excerpt in excerpts), default=0.0)
        if peak <= 0:
            return [Failed("explain", "the site fires on none of the excerpts")]
        lead = self._prompt.render("lead")
        outcomes: list[Explanation | Failed] = []
        seen: set[str] = set()
        for reply in await self._llm.answer(self.requests(excerpts, candidates=candidates, seed=seed)):
            outcome = self._read(reply, lead, excerpts, LOUD * peak)
            if isinstance(outcome, Failed):
                outcomes.append(outcome)
            elif (key := " ".join(outcome.text.casefold().split())) not in seen:
                seen.add(key)
                outcomes.append(outcome)
        return outcomes

    def _read(self, reply: object, lead: str, excerpts: Sequence[Excerpt], loud: float) -> Explanation | Failed:
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChatReply):
            raise TypeError(f"{self._llm.name!r} answered a chat with {reply!r:.80}")
        text = read_explanation(reply, lead=lead)
        if isinstance(text, Failed):
            return text
        answers = [example["explanation"] for example in self._prompt.examples]
        few_shots = ["".join(token for token, _ in excerpt) for example in self._examples for excerpt in example]
        texts = [excerpt.text for excerpt in excerpts]
        fires = [token for e in excerpts for token, a in zip(e.tokens, e.activations.tolist(), strict=True) if a >= loud]
        if (leaked := leak(text, answers=answers, few_shots=few_shots, excerpts=texts, loud=fires)) is not None:
            return Failed("explain", f"few-shot leakage: {text[:80]!r} {leaked}")
        if (quoted := quotation(text, loud=fires, excerpts=texts)) is not None:
            return Failed("explain", f"copied text: {text[:80]!r} {quoted}")
        return Explanation(text, self.name, self._prompt.hash)
