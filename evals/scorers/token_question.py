"""Marks one token a question and asks whether the explanation holds of it there: conditions on the context come down to one place.

Asked are the loudest token of each firing excerpt, tokens that read like one of these and are silent (near-miss), and other silent
tokens at random. All of them are held-out tokens with activations that were looked at.
"""

from functools import partial

import numpy as np

from agents.llm import LLM
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.mark_placing import draw_for, listed, shown, silent
from evals.scoring.material import Material
from evals.scoring.yes_no import Asked, YesNo

NEAR_MISSES, RANDOM = 2, 1
"""Silent tokens of each excerpt that are asked about, at most."""


class TokenQuestion(YesNo):
    """The token-question scorer around a chat model."""

    def __init__(self, llm: LLM, *, contrast: bool = False) -> None:
        super().__init__(llm, "token-question", "token_question", contrast=contrast)

    def questions(self, material: Material, seed: int) -> list[Asked] | Failed:
        """The firing tokens, then the silent ones of all excerpts."""
        asked = [_asked(item.excerpt, int(item.excerpt.activations.argmax()), True, item.group) for item in material.firing]
        words = {_word(item.excerpt.tokens[int(item.excerpt.activations.argmax())]) for item in material.firing}
        for item in material.items:
            excerpt, rng = item.excerpt, draw_for(seed, item.excerpt)
            free = np.flatnonzero(silent(excerpt, material.peak)).tolist()
            alike = [at for at in free if _word(excerpt.tokens[at]) in words]
            others = [at for at in free if at not in alike and any(c.isalnum() for c in excerpt.tokens[at])]
            for group, places, most in (("near-miss", alike, NEAR_MISSES), ("random", others, RANDOM)):
                drawn = sorted(rng.permutation(places)[:most].astype(int).tolist())
                asked += [_asked(excerpt, at, False, group) for at in drawn]
        firing = sum(question.truth for question in asked)
        if not firing or firing == len(asked):
            return Failed("score", f"firing and silent tokens are needed; there are {firing} and {len(asked) - firing}")
        return asked


def _asked(excerpt: Excerpt, at: int, fires: bool, group: str) -> Asked:
    marked = np.arange(len(excerpt.tokens)) == at
    return Asked(f"{excerpt.key} token {at}", excerpt.document, shown(excerpt, marked), fires, group, listed(excerpt, marked))


def _word(token: str) -> str:
    return token.strip().casefold()


SCORERS.add("token-question", needs=frozenset({"chat"}), rank=4)(TokenQuestion)
SCORERS.add("token-question-contrast", needs=frozenset({"chat"}), rank=5)(partial(TokenQuestion, contrast=True))
