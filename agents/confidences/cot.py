"""Chain of thought: the model thinks step by step, then gives its answer and its confidence."""

from dataclasses import replace

from agents.beliefs import Question
from agents.confidences import PROMPTINGS, Asked, Guess, OneReply, answered, apart, form
from agents.self_explanations import ASK, Asking, ask
from agents.self_explanations.chain_of_thought import THOUGHT_TOKENS
from agents.self_explanations.written import confidence, field
from analyzers.errors import Failed
from prompts import Prompt, load

_COT = load("confidence_cot")


class ChainOfThought(OneReply):
    """An answer counts only from a line of its own: thoughts name other answers, too."""

    name = "cot"
    prompts: tuple[Prompt, ...] = (ASK, _COT)

    def question(self, asked: Asked) -> Question:
        plain = ask(asked.asking, asked.text, None, sure=True)
        return replace(
            plain,
            messages=form(asked.asking, asked.text, _lines, _COT.examples[0]["reply"]),
            lead=f"{_COT.render('field')}:",
            max_tokens=plain.max_tokens + THOUGHT_TOKENS,
        )

    def read(self, text: str, asking: Asking, *, cut_off: bool) -> tuple[Guess, ...] | Failed:
        text = apart(text, "Confidence")
        answer = after_thought(text, asking, cut_off=cut_off)
        return answer if isinstance(answer, Failed) else (Guess(answer, confidence(text)),)


def _lines(asking: Asking) -> list[str]:
    return [_COT.render("line"), answer_line(asking), ASK.render("confidence")]


def answer_line(asking: Asking) -> str:
    """The line of the form that asks for the answer."""
    return ASK.render("answer", labels=", ".join(asking.labels)) if asking.labels else ASK.render("free answer")


def after_thought(text: str, asking: Asking, *, cut_off: bool) -> str | Failed:
    """The answer from a line of its own; Failed where there is none, or the reply was broken off before it."""
    line = field(text, "Answer", ["Confidence"])
    if isinstance(line, Failed):
        return Failed("predict", f"{'the reply breaks off before the answer' if cut_off else 'no line with the answer'}: {line.reason}")
    return answered(text, asking)


PROMPTINGS.add(ChainOfThought.name)(ChainOfThought())
