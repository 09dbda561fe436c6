"""Vanilla: the answer and the confidence in it, and nothing else."""

from agents.beliefs import Question
from agents.confidences import PROMPTINGS, Asked, Guess, OneReply, answered, apart
from agents.self_explanations import ASK, Asking, ask
from agents.self_explanations.written import confidence
from analyzers.errors import Failed
from prompts import Prompt


class Vanilla(OneReply):
    """The form of ask.md with two lines."""

    name = "vanilla"
    prompts: tuple[Prompt, ...] = (ASK,)

    def question(self, asked: Asked) -> Question:
        return ask(asked.asking, asked.text, None, sure=True)

    def read(self, text: str, asking: Asking, *, cut_off: bool) -> tuple[Guess, ...] | Failed:  # noqa: ARG002
        text = apart(text, "Confidence")
        answer = answered(text, asking)
        return answer if isinstance(answer, Failed) else (Guess(answer, confidence(text)),)


VANILLA = PROMPTINGS.add(Vanilla.name)(Vanilla())
