"""Questions whose answer is one of a few words: how likely a language model gives each.

The probabilities are exact where the model can be read (capability `choice`), come from the alternatives to the token it wrote where it
returns these, and are 0 or 1 from the answer it wrote where there is nothing else.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from agents.beliefs import Belief, Question, Reader, believe
from agents.beliefs.choice import Logprobs
from agents.beliefs.samples import read_answer
from agents.beliefs.top_logprobs import TopLogprobs
from agents.llm import LLM, Chat, Message, Reply, Request
from analyzers.errors import Failed

YES, NO = "yes", "no"
MAX_TOKENS = 12
"""For the answer and a lead that the model may repeat."""
SURE = 1e-6
"""Least probability that a log-odds is formed of: an answer that was written has no finite one."""

Conversation = tuple[Message, ...]


class Written:
    """Takes what the model wrote for all it holds."""

    name = "written"

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def requests(self, question: Question) -> Sequence[Chat]:
        """One short reply."""
        return [Chat(messages=question.opened(self._llm), max_tokens=question.max_tokens)]

    def read(self, question: Question, replies: Sequence[Reply | Failed]) -> Belief | Failed:
        """Probability 1 for the answer; Failed where it is none or not one of them."""
        answer = read_answer(question, replies[0], self._llm)
        return answer if isinstance(answer, Failed) else Belief(answer, {label: float(label == answer) for label in question.labels})


def reader(llm: LLM) -> Reader:
    """The best way to read this model's answers."""
    if "choice" in llm.capabilities:
        return Logprobs(llm)
    return TopLogprobs(llm) if "top_logprobs" in llm.capabilities else Written(llm)


async def pick(llm: LLM, conversations: Sequence[Conversation], options: Sequence[str]) -> list[tuple[float, ...] | Failed]:
    """[conversation] probabilities of the options, which sum to 1; Failed where there is no answer in the reply.

    A conversation ends with a turn of the assistant that leads up to its answer, such as `Answer:`; a model that cannot go on with it is
    asked without. options: two or more. Raises what the model raises (no access, a limit).
    """
    if len(options) < 2:
        raise ValueError(f"{len(options)} options leave nothing to pick")
    questions = [_question(conversation, options) for conversation in conversations]
    beliefs = await believe(llm, reader(llm), questions)
    return [belief if isinstance(belief, Failed) else tuple(belief.probabilities[option] for option in options) for belief in beliefs]


def asked(llm: LLM, conversations: Sequence[Conversation], options: Sequence[str] = (YES, NO)) -> list[Request]:
    """The requests that `pick` makes, for a forecast."""
    return [request for conversation in conversations for request in reader(llm).requests(_question(conversation, options))]


async def yes(llm: LLM, conversations: Sequence[Conversation]) -> list[float | Failed]:
    """[conversation] probability of `yes` against `no`; conversations and failures as in `pick`."""
    return [found if isinstance(found, Failed) else found[0] for found in await pick(llm, conversations, (YES, NO))]


def contrasted(told: Sequence[float | Failed], null: Sequence[float | Failed]) -> list[float | Failed]:
    """[question] the probability whose odds are those with the explanation over those with the null one: above .5 where it adds to them.

    It removes what the model would say anyway. Failed where either is.
    """
    return [_contrast(p, without) for p, without in zip(told, null, strict=True)]


def _contrast(told: float | Failed, null: float | Failed) -> float | Failed:
    for p in (told, null):
        if isinstance(p, Failed):
            return p
    odds = logit(np.clip(np.array([told, null], np.float64), SURE, 1 - SURE))
    return float(expit(odds[0] - odds[1]))


def _question(conversation: Conversation, options: Sequence[str]) -> Question:
    *before, last = conversation
    if last.role != "assistant" or not last.content:
        raise ValueError("a conversation must end with the assistant's lead up to the answer, such as `Answer:`")
    return Question(tuple(before), tuple(options), last.content, MAX_TOKENS)
