"""Top-k: several guesses, the best first, and how likely each is; the first is the answer, as in the published code."""

from dataclasses import replace

from agents.beliefs import Question
from agents.confidences import PROMPTINGS, Asked, Guess, OneReply, answered, apart, form
from agents.self_explanations import ASK, Asking, ask
from agents.self_explanations.written import confidence, field
from analyzers.errors import Failed
from prompts import Prompt, load

K = 4
"""Guesses that are asked for; as many as there are labels where these are fewer."""
_GUESS_TOKENS = 28
_TOP_K = load("confidence_top_k")


class TopK(OneReply):
    """Guesses stand in the order in which they are written, whatever probabilities they are given."""

    name = "top-k"
    prompts: tuple[Prompt, ...] = (ASK, _TOP_K)
    ranked = True

    def question(self, asked: Asked) -> Question:
        plain = ask(asked.asking, asked.text, None, sure=True)
        asking = form(asked.asking, asked.text, _lines, _TOP_K.examples[0]["reply"])
        return replace(plain, messages=asking, lead="G1:", max_tokens=_GUESS_TOKENS * guesses(asked.asking))

    def read(self, text: str, asking: Asking, *, cut_off: bool) -> tuple[Guess, ...] | Failed:  # noqa: ARG002
        text = apart(text, "[GP][0-9]")
        found: list[Guess] = []
        for number in range(1, guesses(asking) + 1):
            written = field(text, f"G{number}", [f"P{number}"])
            answer = Failed("predict", written.reason) if isinstance(written, Failed) else answered(text, asking, f"G{number}")
            if isinstance(answer, Failed):
                # What stands behind a guess that cannot be read would have the wrong rank.
                return tuple(found) if found else answer
            found.append(Guess(answer, confidence_of(text, number)))
        return tuple(found)


def _lines(asking: Asking) -> list[str]:
    answers = _TOP_K.render("among", labels=", ".join(asking.labels)) if asking.labels else _TOP_K.render("free")
    return [
        _TOP_K.render("guess", number=str(number), which=_TOP_K.render("best" if number == 1 else "next"), answers=answers)
        for number in range(1, guesses(asking) + 1)
    ]


def guesses(asking: Asking) -> int:
    """How many are asked for."""
    return min(K, len(asking.labels)) if asking.labels else K


def confidence_of(text: str, number: int) -> float | Failed:
    """The probability of a guess, from a line of its own."""
    written = field(text, f"P{number}", [f"G{number + 1}"])
    return Failed("confidence", written.reason) if isinstance(written, Failed) else confidence(text, f"P{number}")


PROMPTINGS.add(TopK.name)(TopK())
