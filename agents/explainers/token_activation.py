"""Explains a site by lists of tokens with their activation levels, in the format of the 2023 paper.

Source: Bills et al. 2023, "Language models can explain neurons in language models": excerpts as lines `token<TAB>level 0-10` between
<start> and <end>, levels relative to the loudest token shown, the list repeated without its zeros where fewer than a fifth of the
tokens fire, and an answer with a given beginning. Each line ends with a tab and a level, and tokens are shown on one line without
tabs, so that no corpus text can write a line of its own or the closing <end>.
"""

from collections.abc import Sequence

import numpy as np

from agents.explainers import EXPLAINERS
from agents.explainers.few_shot import FewShot, Levelled
from agents.levels import levels
from agents.llm import LLM
from agents.untrusted import one_line
from analyzers.evidence import Excerpt

SHOWN = 5
"""Excerpts, as in the paper."""
SPARSE = 0.2
"""Share of non-zero levels below which the list is repeated without its zeros."""
MAX_TOKENS = 60


def token_lines(excerpts: Sequence[Levelled], *, zeros: bool) -> str:
    """`token<TAB>level` lines, each excerpt between <start> and <end>."""
    lines = []
    for excerpt in excerpts:
        lines += ["<start>", *(f"{one_line(token)}\t{level}" for token, level in excerpt if zeros or level), "<end>"]
    return "\n".join(lines)


def is_sparse(excerpts: Sequence[Levelled]) -> bool:
    """Whether fewer than a fifth of the tokens have a level above 0."""
    shown = [level for excerpt in excerpts for _, level in excerpt]
    return float(np.mean(np.array(shown) > 0)) < SPARSE


@EXPLAINERS.add("token-activation", needs=frozenset({"chat"}), rank=1)
class TokenActivation(FewShot):
    """The token-activation explainer around a chat model."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm, "token-activation", "token_activation", max_tokens=MAX_TOKENS)

    def chosen(self, excerpts: Sequence[Excerpt]) -> Sequence[Levelled]:
        """The loudest excerpts with levels 0-10 relative to the loudest token of them all."""
        loudest = sorted(excerpts, key=lambda excerpt: -float(excerpt.activations.max()))[:SHOWN]
        peak = float(loudest[0].activations.max())
        return [list(zip(e.tokens, levels(e.activations, peak, top=10).tolist(), strict=True)) for e in loudest]

    def user(self, shown: Sequence[Levelled]) -> str:
        """The turn that shows them."""
        prompt = self._prompt
        again = "\n\n" + prompt.render("repetition", lines=token_lines(shown, zeros=False)) if is_sparse(shown) else ""
        return prompt.render("user", lines=token_lines(shown, zeros=True), repetition=again)
