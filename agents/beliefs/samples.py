"""The share of each answer among samples: k replies at temperature 1. Its standard error is at most .5 / sqrt(k)."""

from collections import Counter
from collections.abc import Sequence

from agents.beliefs import OTHER, READERS, Belief, Question
from agents.free_answers import alike
from agents.llm import LLM, Chat, ChatReply, Reply
from agents.self_explanations.written import free_answer, label
from analyzers.errors import Failed

__all__ = ["SAMPLES", "Samples", "alike", "read_answer"]

SAMPLES = 10


@READERS.add("samples", needs=frozenset({"chat"}), rank=3)
class Samples:
    """Counts the answers of several replies; one that holds no answer is left out, and no more than half may be."""

    name = "samples"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def requests(self, question: Question) -> Sequence[Chat]:
        """Equal but for their seed."""
        messages = question.opened(self._llm)
        return [
            Chat(messages=messages, max_tokens=question.max_tokens, stop=question.stop, temperature=1.0, seed=seed)
            for seed in range(SAMPLES)
        ]

    def read(self, question: Question, replies: Sequence[Reply | Failed]) -> Belief | Failed:
        """Shares of the replies that hold an answer; its mass is the share that these are of all."""
        found = [read_answer(question, reply, self._llm) for reply in replies]
        given = Counter(answer for answer in found if not isinstance(answer, Failed))
        if 2 * given.total() < len(replies):
            return next(answer for answer in found if isinstance(answer, Failed))
        shares = {answer: given[answer] / given.total() for answer in question.answers}
        return Belief.likeliest(shares, given.total() / len(replies))


def read_answer(question: Question, reply: Reply | Failed, llm: LLM) -> str | Failed:
    """The answer in a reply: one of the labels; where answers are free the one asked about, or that it is another."""
    if isinstance(reply, Failed):
        return reply
    if not isinstance(reply, ChatReply):
        raise TypeError(f"{llm.name!r} answered a chat with {reply!r:.80}")
    begun = len(question.opened(llm)) > len(question.messages)
    text = f"{question.lead} {reply.text.lstrip()}" if begun else reply.text
    if len(question.labels) > 1:
        return label(text, question.labels)
    answer = free_answer(text)
    if isinstance(answer, Failed) or not question.labels:
        return answer
    return question.labels[0] if alike(answer, question.labels[0]) else OTHER
