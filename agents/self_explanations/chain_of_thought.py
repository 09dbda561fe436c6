"""A model thinks step by step before it answers; its thoughts are cut into steps, changed, and given back to it.

After Lanham et al. 2023 (arXiv 2307.13702). Given thoughts begin the model's reply where it goes on with what is begun; where it does not,
they are shown below the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.beliefs import Question
from agents.llm import LLM, Chat, ChatReply, Message, Reply
from agents.self_explanations import Asking, ask, messages
from agents.self_explanations.written import field
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.units import sentences
from prompts import load

THOUGHT_TOKENS = 320
"""For all thoughts of one reply."""
ANSWER, CONFIDENCE = "Answer", "Confidence"
_THINK = load("think")
_ASK = load("ask")
_LEAD = f"{_THINK.render('field')}:"
_STOP = (f"{ANSWER}:",)
_BRACKETS = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True)
class Thinking:
    """How a model thinks about the texts of a task."""

    llm: LLM
    asking: Asking
    sure: bool = False
    """Whether a stated confidence is asked for, too."""

    def think(self, text: str) -> Chat:
        """The request for its thoughts, which end where the answer would begin."""
        return self._chat(self._form(text, "line"), _LEAD)

    def steps(self, reply: Reply | Failed) -> tuple[str, ...] | Failed:
        """[step] what it thought, each step on one line; Failed where it thought nothing, or never came to the end of its first step."""
        steps = self._written(reply)
        return steps if isinstance(steps, Failed) or steps else Failed("explain", "there are no thoughts before the answer")

    def go_on(self, text: str, thoughts: str) -> Chat:
        """The request for the thoughts that follow given ones."""
        if self._begins:
            return self._chat(self._form(text, "line"), _begun(thoughts))
        return self._chat(_with(self._form(text, "line that follows"), thoughts, _THINK.render("go on")))

    def further(self, reply: Reply | Failed) -> tuple[str, ...] | Failed:
        """[step] the thoughts that follow; none where the model comes to its answer at once."""
        return self._written(reply)

    def answer(self, text: str, thoughts: str) -> Question:
        """What it holds of the text after these thoughts, which need not be its own; empty for none."""
        asked = ask(self.asking, text, None, sure=self.sure)
        if self._begins:
            return replace(asked, messages=self._form(text, "line"), lead=f"{_begun(thoughts)}\n{asked.lead}")
        return replace(asked, messages=_with(asked.messages, thoughts, _THINK.render("answer now")))

    @property
    def _begins(self) -> bool:
        return "prefill" in self.llm.capabilities

    def _form(self, text: str, thoughts: str) -> tuple[Message, ...]:
        """The conversation that asks for thoughts and an answer; thoughts: the section that asks for them."""
        labels = ", ".join(self.asking.labels)
        lines = [_THINK.render(thoughts), _ASK.render("answer", labels=labels) if labels else _ASK.render("free answer")]
        return messages(self.asking, text, [*lines, _ASK.render("confidence")] if self.sure else lines)

    def _chat(self, asked: tuple[Message, ...], lead: str = "") -> Chat:
        return Chat(messages=Question(asked, (), lead).opened(self.llm), max_tokens=THOUGHT_TOKENS, stop=_STOP)

    def _written(self, reply: Reply | Failed) -> tuple[str, ...] | Failed:
        written = _text(self.llm, reply)
        if isinstance(written, Failed):
            return written
        before = written.partition(_STOP[0])[0]
        found = before if self._begins or not before.strip() else field(before, _THINK.render("field"), [ANSWER, CONFIDENCE])
        if isinstance(found, Failed):
            return found
        steps = cut(found)
        if any(_repeats(step, _THINK.render(form)) for step in steps for form in ("line", "line that follows")):
            return Failed("explain", "the reply repeats what was asked for instead of thinking")
        if not isinstance(reply, ChatReply) or reply.finish != "length":
            return steps
        # The last step of a reply that was broken off is no whole one.
        return steps[:-1] if len(steps) > 1 else Failed("explain", "the thoughts break off in their first step")


def cut(thoughts: str) -> tuple[str, ...]:
    """[step] sentences and lines; what has no letter, such as the number of a step, belongs to the next one, at the end to the last."""
    steps: list[str] = []
    number = ""
    for line in thoughts.splitlines():
        for sentence in sentences(line).texts:
            if any(sign.isalpha() for sign in sentence):
                steps.append(f"{number} {sentence}".strip())
                number = ""
            else:
                number = f"{number} {sentence}".strip()
    if number and steps:
        steps[-1] = f"{steps[-1]} {number}"
    return tuple(map(one_line, steps))


def rewrite(llm: LLM, prompt: str, max_tokens: int = THOUGHT_TOKENS, **variables: str) -> Chat:
    """The request to write something in another way, by a prompt file that has the sections user, lead and field."""
    asked = load(prompt)
    lead = asked.render("lead")
    content = asked.render("user", lead=lead, **{name: one_line(value) for name, value in variables.items()})
    return Chat(messages=Question((Message(role="user", content=content),), (), lead).opened(llm), max_tokens=max_tokens)


def rewritten(llm: LLM, prompt: str, original: str, reply: Reply | Failed) -> str | Failed:
    """What was written, on one line; Failed where that is nothing, what was there before, or not come to its end."""
    written = _text(llm, reply)
    if isinstance(written, Failed):
        return written
    asked = load(prompt)
    if "prefill" in llm.capabilities:
        written = f"{asked.render('lead')} {written.lstrip()}"
    found = field(written, asked.render("field"), [ANSWER, CONFIDENCE])
    if isinstance(found, Failed):
        return found
    if isinstance(reply, ChatReply) and reply.finish == "length":
        return Failed("rewrite", "what was written breaks off")
    other = " ".join(cut(found))
    if _repeats(other, asked.sections["user"].text):
        return Failed("rewrite", "the reply repeats what was asked for instead of writing it")
    if not other or _plain(other) == _plain(original):
        return Failed("rewrite", "nothing was written in another way" if other else "nothing was written")
    return other


def _text(llm: LLM, reply: Reply | Failed) -> str | Failed:
    if isinstance(reply, Failed):
        return reply
    if not isinstance(reply, ChatReply):
        raise TypeError(f"{llm.name!r} answered a chat with {reply!r:.80}")
    return reply.text


def _begun(thoughts: str) -> str:
    return f"{_LEAD} {one_line(thoughts)}".rstrip()


def _with(asked: Sequence[Message], thoughts: str, then: str) -> tuple[Message, ...]:
    """The conversation with given thoughts below the text."""
    shown = _THINK.render("so far", thoughts=one_line(thoughts) or _THINK.render("none"))
    return (*asked[:-1], asked[-1].model_copy(update={"content": f"{asked[-1].content}\n\n{shown}\n\n{then}"}))


def _repeats(written: str, form: str) -> bool:
    """Whether what was written is no more than what the form has in brackets, as small models do."""
    return any(_plain(written).strip("() .") == _plain(place) for place in _BRACKETS.findall(form))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
