"""Explains a site by lists of tokens with their activation levels, in the format of the 2023 paper.

Source: Bills et al. 2023, "Language models can explain neurons in language models": excerpts as lines `token<TAB>level 0-10` between
<start> and <end>, levels relative to the loudest token shown, the list repeated without its zeros where fewer than a fifth of the
tokens fire, and an answer with a given beginning. Each line ends with a tab and a level, and tokens are shown on one line without
tabs, so that no corpus text can write a line of its own or the closing <end>.
"""

from collections.abc import Sequence

import numpy as np

from agents.explainers import EXPLAINERS
from agents.explainers.candidates import candidates as ask
from agents.explanation import Explanation
from agents.levels import levels
from agents.llm import LLM, Message
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

SHOWN = 5
"""Excerpts, as in the paper."""
SPARSE = 0.2
"""Share of non-zero levels below which the list is repeated without its zeros."""
MAX_TOKENS = 60

Levelled = Sequence[tuple[str, int]]
"""Tokens with their level 0-10."""


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


def chosen(excerpts: Sequence[Excerpt]) -> list[Levelled]:
    """The loudest excerpts with levels 0-10 relative to the loudest token of them all."""
    loudest = sorted(excerpts, key=lambda excerpt: -float(excerpt.activations.max()))[:SHOWN]
    peak = float(loudest[0].activations.max())
    return [list(zip(e.tokens, levels(e.activations, peak, top=10).tolist(), strict=True)) for e in loudest]


@EXPLAINERS.add("token-activation", needs=frozenset({"chat"}), rank=1)
class TokenActivation:
    """The token-activation explainer around a chat model."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("token_activation")
        self._examples: list[list[Levelled]] = [
            [[(token, level) for token, level in excerpt] for excerpt in example["excerpts"]] for example in self._prompt.examples
        ]
        self.name = f"token-activation({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    def messages(self, excerpts: Sequence[Excerpt]) -> list[Message]:
        """The conversation: the task, one turn an example, and the excerpts."""
        prompt = self._prompt

        def user(shown: Sequence[Levelled]) -> Message:
            again = "\n\n" + prompt.render("repetition", lines=token_lines(shown, zeros=False)) if is_sparse(shown) else ""
            return Message(role="user", content=prompt.render("user", lines=token_lines(shown, zeros=True), repetition=again))

        turns = [Message(role="system", content=prompt.render("system"))]
        for example, shown in zip(prompt.examples, self._examples, strict=True):
            answer = prompt.render("assistant", lead=prompt.render("lead"), explanation=example["explanation"])
            turns += [user(shown), Message(role="assistant", content=answer)]
        return [*turns, user(chosen(excerpts))]

    async def explain(self, excerpts: Sequence[Excerpt], *, candidates: int, seed: int) -> list[Explanation | Failed]:
        """Up to `candidates` different explanations, the greedy one first; Failed where the site never fires in the excerpts."""
        if not any(float(excerpt.activations.max()) > 0 for excerpt in excerpts):
            return [Failed("explain", "the site fires on none of the excerpts")]
        return await ask(
            self._llm,
            self.messages(excerpts),
            count=candidates,
            seed=seed,
            max_tokens=MAX_TOKENS,
            explainer=self.name,
            prompt=self._prompt,
            few_shots=["".join(token for token, _ in excerpt) for example in self._examples for excerpt in example],
            excerpts=excerpts,
        )
