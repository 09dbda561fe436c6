"""Contest over all excerpts of the site in one question: more to go by, and more to read for a small model. See contest."""

from agents.llm import LLM
from evals.scorers import SCORERS
from evals.scorers.contest import Contesting

MOST = 12
"""Firing excerpts, and at most as many silent ones: a prompt has its limits."""


@SCORERS.add("contest-all", needs=frozenset({"chat"}), rank=1)
class ContestAll(Contesting):
    """All excerpts in one question."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm, "contest-all", each=MOST, questions=1)
