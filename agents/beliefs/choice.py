"""Label log-probabilities where they can be read for any text: how likely each answer is right where the reply would have it.

Probabilities are those of whole answers, whatever number of tokens they have, and are normalised over the labels. Where answers are free
the probability of one answer stands against all others together.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from agents.beliefs import OTHER, READERS, Belief, Question
from agents.llm import LLM, Choice, ChoiceReply, Message, Reply
from analyzers.errors import Failed


@READERS.add("logprobs", needs=frozenset({"choice"}), rank=0)
class Logprobs:
    """Reads the probabilities of the labels at the end of the question's lead."""

    name = "logprobs"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def requests(self, question: Question) -> Sequence[Choice]:
        """One request; the question must lead up to its answer."""
        if not question.lead:
            raise ValueError("label log-probabilities are read of answers that come first in the reply")
        messages = (*question.messages, Message(role="assistant", content=question.lead))
        return [Choice(messages=messages, options=tuple(f" {label}" for label in question.labels))]

    def read(self, question: Question, replies: Sequence[Reply | Failed]) -> Belief | Failed:
        """The probabilities, which sum to 1."""
        (reply,) = replies
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChoiceReply):
            raise TypeError(f"{self._llm.name!r} answered a choice with {reply!r:.80}")
        logprobs = np.array(reply.logprobs)
        if not np.isfinite(logprobs).any():
            return Failed("predict", "the model gives none of the labels any probability")
        mass = min(1.0, float(np.exp(logprobs).sum()))
        if len(question.labels) == 1:
            return Belief.likeliest({question.labels[0]: mass, OTHER: 1 - mass})
        return Belief.likeliest(dict(zip(question.labels, softmax(logprobs).tolist(), strict=True)), mass)
