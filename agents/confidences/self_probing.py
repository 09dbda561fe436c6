"""Self-probing: the answer is that of the vanilla strategy, and a new conversation asks how likely it is right.

The new conversation shows the question and the answer, and neither the reply that the answer is from nor a hint that went with it.
"""

from collections.abc import Sequence
from dataclasses import replace

from agents.beliefs import Question
from agents.confidences import PROMPTINGS, Asked, Guess, Outcome, chat, example_asking, read_whole
from agents.confidences.vanilla import VANILLA
from agents.llm import LLM, Chat, ChatReply, Message, Reply
from agents.self_explanations import Asking, messages
from agents.self_explanations.written import confidence
from agents.untrusted import one_line
from analyzers.errors import Failed
from prompts import Prompt, load

_PROBE = load("confidence_self_probing")
_TOKENS = 16


class SelfProbing:
    """Two conversations."""

    name = "self-probing"
    prompts: tuple[Prompt, ...] = (*VANILLA.prompts, _PROBE)
    ranked = False

    def requests(self, llm: LLM, asked: Sequence[Asked]) -> list[Chat]:
        """The second of each with the first label in the place of the answer."""
        stand_in = [each.asking.labels[0] if each.asking.labels else "answer" for each in asked]
        return VANILLA.requests(llm, asked) + [_second(llm, each, answer) for each, answer in zip(asked, stand_in, strict=True)]

    async def __call__(self, llm: LLM, asked: Sequence[Asked]) -> list[Outcome]:
        """[asked] the answer from the first reply, the confidence from the second."""
        first = await VANILLA(llm, asked)
        answers = {at: one.guesses[0].answer for at, one in enumerate(first) if not isinstance(one.guesses, Failed)}
        replies = await llm.answer([_second(llm, asked[at], answer) for at, answer in answers.items()])
        probed = dict(zip(answers, replies, strict=True))
        return [_outcome(llm, asked[at], one, answers[at], probed[at]) if at in answers else one for at, one in enumerate(first)]


def _question(asked: Asked, answer: str) -> Question:
    probed = _probed(asked.asking, asked.text, answer)
    if asked.asking.example:
        about, text = example_asking(asked.asking)
        shown = _PROBE.examples[0]
        *system, user = probed
        example = (_probed(about, text, shown["answer"])[-1], Message(role="assistant", content=shown["reply"]))
        probed = (*system, *example, user)
    return Question(probed, (), _PROBE.render("lead"), max_tokens=_TOKENS)


def _probed(asking: Asking, text: str, answer: str) -> tuple[Message, ...]:
    """The conversation that shows a text with a possible answer."""
    labels = ", ".join(asking.labels)
    answers = _PROBE.render("answers", labels=labels) if labels else ""
    instruction = _PROBE.render("question", instruction=asking.instruction.strip(), answers=answers)
    *before, user = messages(replace(asking, instruction=instruction, labels=()), text, [_PROBE.render("line")])
    below = _PROBE.render("possible answer", answer=one_line(answer))
    return (*before, user.model_copy(update={"content": f"{user.content}\n\n{below}"}))


def _second(llm: LLM, asked: Asked, answer: str) -> Chat:
    return chat(llm, replace(asked, hint=""), _question(asked, answer))


def _outcome(llm: LLM, asked: Asked, first: Outcome, answer: str, reply: Reply | Failed) -> Outcome:
    text = read_whole(llm, _question(asked, answer), reply)
    written = (*first.written, reply.text) if isinstance(reply, ChatReply) else first.written
    return Outcome((Guess(answer, text if isinstance(text, Failed) else confidence(text)),), written)


PROMPTINGS.add(SelfProbing.name)(SelfProbing())
