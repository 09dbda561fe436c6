"""Multi-step: every step of the model's thoughts has a confidence, and that in the answer is their product."""

import math
import re
from dataclasses import replace
from itertools import pairwise

from agents.beliefs import Question
from agents.confidences import PROMPTINGS, Asked, Guess, OneReply, form
from agents.confidences.cot import after_thought, answer_line
from agents.self_explanations import ASK, Asking, ask
from agents.self_explanations.chain_of_thought import THOUGHT_TOKENS
from agents.self_explanations.written import confidence
from analyzers.errors import Failed
from prompts import Prompt, load

_STEPS = load("confidence_multi_step")
_STEP = re.compile(r"^[^\S\n]{0,9}[>*_#•+–-]{0,4}[^\S\n]{0,4}[*_]{0,3}Step[^\S\n]{0,3}[0-9]{1,2}\b", re.IGNORECASE | re.MULTILINE)
_ANSWER = re.compile(r"^[^\S\n]{0,9}[>*_#-]{0,4}[^\S\n]{0,4}[*_]{0,3}[\"']?Answer\b", re.IGNORECASE | re.MULTILINE)
_BRACKETED = re.compile(r"[(\[][^\S\n]{0,4}(?=confidence\b)", re.IGNORECASE)


class MultiStep(OneReply):
    """No confidence in the whole is asked for."""

    name = "multi-step"
    prompts: tuple[Prompt, ...] = (ASK, _STEPS)

    def question(self, asked: Asked) -> Question:
        plain = ask(asked.asking, asked.text, None, sure=True)
        return replace(
            plain,
            messages=form(asked.asking, asked.text, _lines, _STEPS.examples[0]["reply"]),
            lead=_STEPS.render("lead"),
            max_tokens=plain.max_tokens + THOUGHT_TOKENS,
        )

    def read(self, text: str, asking: Asking, *, cut_off: bool) -> tuple[Guess, ...] | Failed:
        answer = after_thought(text, asking, cut_off=cut_off)
        return answer if isinstance(answer, Failed) else (Guess(answer, product(text)),)


def _lines(asking: Asking) -> list[str]:
    return [_STEPS.render("lines"), answer_line(asking)]


def product(text: str) -> float | Failed:
    """Of the confidences of all steps before the answer; Failed where there is no step, or one without a confidence."""
    end = _ANSWER.search(text)
    before = text[: end.start()] if end else text
    begins = [match.start() for match in _STEP.finditer(before)]
    found = [confidence(_BRACKETED.sub("| ", before[start:stop])) for start, stop in pairwise([*begins, len(before)])]
    if not found:
        return Failed("confidence", "there are no steps before the answer")
    for number, step in enumerate(found, 1):
        if isinstance(step, Failed):
            return Failed("confidence", f"step {number} of {len(found)}: {step.reason}")
    return math.prod(step for step in found if not isinstance(step, Failed))


PROMPTINGS.add(MultiStep.name)(MultiStep())
