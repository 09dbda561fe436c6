"""Scorers that ask one yes-or-no question a conversation: does this description hold of this text?

What conversations share comes first (instructions, examples, description) and the excerpt last, so that a local model computes the shared
part once; and nothing that is asked of one excerpt can sway the answer to another.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from agents.llm import LLM, Message, Request
from agents.untrusted import one_line
from analyzers.errors import Failed
from evals.scoring.asking import Conversation, asked, contrasted, yes
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Material
from prompts import Prompt, load


@dataclass(frozen=True)
class Asked:
    """One question, whatever the description."""

    item: str
    document: str
    text: str
    """As the model reads it: on one line, marked where the question is about a place in it."""
    truth: bool
    """Whether yes is right of a description that holds."""
    group: str
    marked: str = ""
    """What is marked in it, once more, for a prompt that says so right before the answer."""
    weight: float = 1.0

    def answered(self, prediction: float | Failed) -> Answer:
        return Answer(self.item, self.document, float(self.truth), prediction, self.group, self.weight)


class YesNo(ABC):
    """A scorer around a chat model, with the null explanation's answers taken out if so asked.

    Its prompt has the sections system, user (of an explanation and a text), lead (how a reply begins) and null (what the null explanation
    is called), and examples of {explanation, text, answer}.
    """

    measure: Measure = "auroc"
    role: Role = "items"
    chance: float | None = 0.5

    def __init__(self, llm: LLM, name: str, prompt: str, *, contrast: bool = False) -> None:
        self._llm = llm
        self._prompt = load(prompt)
        self._contrast = contrast
        self.name = f"{name}{'-contrast' if contrast else ''}({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    @abstractmethod
    def questions(self, material: Material, seed: int) -> list[Asked] | Failed:
        """What is asked about every explanation; Failed where the material has nothing for it."""

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """One outcome an explanation, in order; raises what the language model raises (no access, a limit)."""
        asked = self.questions(material, seed)
        if isinstance(asked, Failed):
            return [asked] * len(explanations)
        return [self.judged(asked, told) for told in await self.told(explanations, asked)]

    def judged(self, asked: Sequence[Asked], told: Sequence[float | Failed]) -> Judged:
        """The answers about one explanation."""
        return Judged(tuple(question.answered(p) for question, p in zip(asked, told, strict=True)))

    def requests(self, explanations: Sequence[str], material: Material, seed: int) -> list[Request]:
        """What `judge` asks about that many explanations, at most; nothing where the material has nothing for it."""
        questions = self.questions(material, seed)
        if isinstance(questions, Failed):
            return []
        every = [*explanations, ""] if self._contrast else list(explanations)
        return asked(self._llm, [conversation(self._prompt, text, question.text) for text in every for question in questions])

    async def told(self, explanations: Sequence[str], asked: Sequence[Asked]) -> list[list[float | Failed]]:
        """[explanation][question] probability of a yes, or of more of a yes than the null explanation gets."""
        every = [*explanations, ""] if self._contrast else list(explanations)
        outcomes = await yes(
            self._llm, [conversation(self._prompt, text, question.text, question.marked) for text in every for question in asked]
        )
        rows = [outcomes[start : start + len(asked)] for start in range(0, len(outcomes), len(asked))] if asked else [[] for _ in every]
        return [contrasted(row, rows[-1]) for row in rows[:-1]] if self._contrast else rows


def conversation(prompt: Prompt, explanation: str, text: str, marked: str = "") -> Conversation:
    """The question about a text, which must be on one line, behind the examples; an empty explanation is called what the prompt says."""
    lead = prompt.render("lead")
    turns = [Message(role="system", content=prompt.render("system"))]
    for example in prompt.examples:
        turns.append(_question(prompt, example["explanation"], example["text"], example.get("marked", "")))
        turns.append(Message(role="assistant", content=f"{lead} {example['answer']}"))
    described = one_line(explanation).strip() or prompt.render("null")
    return (*turns, _question(prompt, described, text, marked), Message(role="assistant", content=lead))


def _question(prompt: Prompt, explanation: str, text: str, marked: str) -> Message:
    again = {"marked": marked} if "marked" in prompt.sections["user"].variables else {}
    return Message(role="user", content=prompt.render("user", explanation=explanation, text=text, **again))
