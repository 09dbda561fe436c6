"""The confidence that the model states in its answer: all there is where neither log-probabilities nor many samples can be had.

It takes few values, so that most small changes of a text change nothing; what it says of other answers is only that they share the rest.
"""

from collections.abc import Sequence

from agents.beliefs import READERS, Belief, Question
from agents.beliefs.samples import read_answer
from agents.llm import LLM, Chat, ChatReply, Reply
from agents.self_explanations.written import confidence
from analyzers.errors import Failed


@READERS.add("stated", needs=frozenset({"chat"}), rank=2)
class Stated:
    """Reads an answer and the confidence beside it."""

    name = "stated"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def requests(self, question: Question) -> Sequence[Chat]:
        """One reply."""
        return [Chat(messages=question.opened(self._llm), max_tokens=question.max_tokens, stop=question.stop)]

    def read(self, question: Question, replies: Sequence[Reply | Failed]) -> Belief | Failed:
        """Failed where the reply lacks one of the two."""
        (reply,) = replies
        answer = read_answer(question, reply, self._llm)
        if isinstance(answer, Failed):
            return answer
        assert isinstance(reply, ChatReply)
        sure = confidence(reply.text)
        return sure if isinstance(sure, Failed) else Belief.stated(answer, sure, question.answers)
