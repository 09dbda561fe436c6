"""A model is asked for its answer to a text and for an explanation of it, in one reply; each file is one form of explanation.

The order is a factor: predict-first has the answer before the explanation, explain-first after it. A reply ends as Elicited or as Failed,
with the stage at which it failed: ask (no reply), predict (no answer in it), explain (no explanation in it), align (an explanation of
something else than the text).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from agents.beliefs import Question
from agents.llm import LLM, Chat, ChatReply, Message, Reply
from agents.self_explanations.word_alignment import Match
from agents.self_explanations.written import confidence, field, free_answer, label
from agents.untrusted import one_line
from analyzers.errors import ExplicateError, Failed
from analyzers.folder import Folder
from analyzers.units import Units, words
from prompts import Prompt, load

__all__ = [
    "ELICITATIONS",
    "ORDERS",
    "PROMPTS",
    "Asking",
    "Elicitation",
    "Elicited",
    "Order",
    "Said",
    "answered",
    "ask",
    "elicit",
    "elicited",
    "messages",
    "persona_names",
    "whole",
]

Order = Literal["explain-first", "predict-first"]
ORDERS: tuple[Order, ...] = ("explain-first", "predict-first")
ASK, PERSONAS = PROMPTS = (load("ask"), load("personas"))
ANSWER, CONFIDENCE = "Answer", "Confidence"
ANSWER_TOKENS = 32
"""For an answer and a confidence, each on its line."""


@dataclass(frozen=True)
class Asking:
    """What a model is asked about every text of a task."""

    instruction: str
    labels: tuple[str, ...] = ()
    """None where answers are free."""
    persona: str = ""
    """In whose name it answers (prompts/personas.md); empty for nobody's."""
    unit: str = "word"
    """What a unit of the text is called when the model is asked about it: word, sentence, phrase."""
    demonstrations: tuple[tuple[str, str], ...] = ()
    """Texts with their answers, shown before."""
    example: bool = False
    """Whether a question and reply about something else show the form of the reply first: small models need it."""


@dataclass(frozen=True)
class Said:
    """An explanation in terms of the units of the text."""

    text: str
    """As it was written."""
    values: tuple[float, ...]
    """[unit] how much it says that the unit speaks for the answer."""
    match: Match
    """How exactly what was written is what stands in the text."""
    rewritten: str | None = None
    """The text as the explanation would have it, for a redaction or an edit."""
    claims: tuple[frozenset[int], ...] = ()
    """The units of each phrase that a free text claims to rest on."""


@dataclass(frozen=True)
class Elicited:
    """What a model said of one text."""

    answer: str
    confidence: float | Failed
    said: Said


class Elicitation(Protocol):
    """One form of explanation."""

    name: str
    prompt: Prompt
    tokens_a_unit: int
    """Of the reply, at most."""

    def line(self, units: Units, unit: str) -> str:
        """What is asked for, as the line or lines of the reply that hold it; unit: what a unit is called, such as word."""

    def read(self, text: str, units: Units, others: Sequence[str]) -> Said | Failed:
        """From the whole reply; `others` are the fields of the reply that are no part of the explanation."""


ELICITATIONS: Folder[Elicitation] = Folder("agents.self_explanations", "elicitation")


def persona_names() -> list[str]:
    """Those in prompts/personas.md."""
    return sorted(PERSONAS.sections)


def messages(asking: Asking, text: str, lines: Sequence[str], *, before: Sequence[Message] = ()) -> tuple[Message, ...]:
    """The conversation that asks for a reply of these lines; before: turns of an earlier question."""
    if asking.persona and asking.persona not in persona_names():
        raise ExplicateError(f"no persona is called {asking.persona!r}; choose one of {', '.join(persona_names())}")
    content = ASK.render(
        "user",
        persona=f"{PERSONAS.render(asking.persona)} " if asking.persona else "",
        instruction=asking.instruction.strip(),
        answers=ASK.render("answers", labels=", ".join(asking.labels)) if asking.labels else "",
        demonstrations="".join(
            "\n\n" + ASK.render("demonstration", text=one_line(given), answer=one_line(answer)).strip("\n")
            for given, answer in asking.demonstrations
        ),
        lines="\n".join(lines),
        text=one_line(text),
    )
    return (Message(role="system", content=ASK.render("system")), *before, Message(role="user", content=content))


Part = Literal["answer", "confidence"] | Elicitation
"""A part of a reply, on lines of its own."""


def _line(asking: Asking, part: Part, units: Units) -> str:
    """What is asked for."""
    if part == "answer":
        return ASK.render("answer", labels=", ".join(asking.labels)) if asking.labels else ASK.render("free answer")
    return ASK.render(part) if isinstance(part, str) else part.line(units, asking.unit)


def _asked(asking: Asking, text: str, parts: Sequence[Part], units: Units) -> tuple[Message, ...]:
    """The conversation that asks for these parts, behind an example of their form where one is wanted."""
    before: tuple[Message, ...] = ()
    if asking.example:
        shown = ASK.examples[0]
        example = replace(asking, instruction=shown["instruction"], labels=tuple(shown["labels"]), demonstrations=())
        lines = [_line(example, part, words(shown["text"])) for part in parts]
        reply = [f"{part.capitalize()}: {shown[part]}" if isinstance(part, str) else part.prompt.examples[0][asking.unit] for part in parts]
        before = (messages(example, shown["text"], lines)[-1], Message(role="assistant", content="\n".join(reply)))
    return messages(asking, text, [_line(asking, part, units) for part in parts], before=before)


def ask(asking: Asking, text: str, elicitation: Elicitation | None, units: Units | None = None, *, sure: bool = False) -> Question:
    """What the model holds of a text, asked in the form that asks for the answer first, and an explanation after it where there is one.

    units: of the whole item, which decide the form; the text may lack some of them. sure: a stated confidence is read, too. The reply is
    read no further than that.
    """
    parts: list[Part] = ["answer", "confidence"] if sure or elicitation is not None else ["answer"]
    if elicitation is None:
        stop = () if sure else ("\n",)
    else:
        parts.append(elicitation)
        stop = (f"\n{elicitation.prompt.render('field')}:",) if sure else (f"\n{CONFIDENCE}:",)
    asked = _asked(asking, text, parts, units or words(text))
    return Question(asked, asking.labels, f"{ANSWER}:", ANSWER_TOKENS, stop)


def whole(asking: Asking, text: str, elicitation: Elicitation, units: Units) -> Question:
    """The same in the form that asks for the explanation first: the whole reply is needed to read the answer."""
    asked = _asked(asking, text, [elicitation, "answer", "confidence"], units)
    return Question(asked, asking.labels, "", _room(elicitation, units))


def _room(elicitation: Elicitation, units: Units) -> int:
    """Tokens for a whole reply."""
    return ANSWER_TOKENS + 32 + elicitation.tokens_a_unit * len(units)


def elicit(llm: LLM, asking: Asking, units: Units, elicitation: Elicitation, order: Order) -> Chat:
    """The request for answer and explanation."""
    question = whole(asking, units.text, elicitation, units)
    if order == "predict-first":
        question = ask(asking, units.text, elicitation, units)
    return Chat(messages=question.opened(llm), max_tokens=_room(elicitation, units))


def answered(llm: LLM, asking: Asking, elicitation: Elicitation, order: Order, reply: Reply | Failed) -> tuple[str, str] | Failed:
    """The answer in the reply to that request, whatever its explanation is, and the whole text of the reply."""
    if isinstance(reply, Failed):
        return reply
    if not isinstance(reply, ChatReply):
        raise TypeError(f"{llm.name!r} answered a chat with {reply!r:.80}")
    begun = order == "predict-first" and "prefill" in llm.capabilities
    text = f"{ANSWER}: {reply.text.lstrip()}" if begun else reply.text
    # The explanation may hold the name of a label, too: the answer is looked for without it where it has a line of its own.
    line = field(text, ANSWER, others=[CONFIDENCE, elicitation.prompt.render("field")])
    about = text if isinstance(line, Failed) else f"{ANSWER}: {line}"
    answer = label(about, asking.labels) if asking.labels else free_answer(about)
    return answer if isinstance(answer, Failed) else (answer, text)


def elicited(llm: LLM, asking: Asking, units: Units, elicitation: Elicitation, order: Order, reply: Reply | Failed) -> Elicited | Failed:
    """What the reply to that request says."""
    found = answered(llm, asking, elicitation, order, reply)
    if isinstance(found, Failed):
        return found
    answer, text = found
    said = elicitation.read(text, units, [ANSWER, CONFIDENCE])
    return said if isinstance(said, Failed) else Elicited(answer, confidence(text), said)
