"""Explains a site to a chat model by text in which the tokens it fires on are <<marked>>.

Facts behind it: a list of tokens with levels costs four prompt tokens a token and weak models read it badly; marked text costs one
(Lee et al. 2023, and measured with a 1.5B model). Corpus text is data: an excerpt is one numbered line, and the marks are longer
than any run of angle brackets in the excerpts, so no corpus text can close its line or look marked.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.explainers import EXPLAINERS
from agents.explainers.candidates import candidates as ask
from agents.explanation import Explanation
from agents.levels import levels
from agents.llm import LLM, Message
from agents.untrusted import one_line, one_line_each
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import load

SHOWN = 6
"""Excerpts."""
BEFORE, AFTER = 16, 6
"""Tokens shown on either side of an excerpt's peak."""
MARKED_LEVEL = 4
"""Of 0-9, relative to the loudest token of all excerpts shown: from here on a token is marked."""
STRONGEST = 6
"""Tokens listed with their level."""
MAX_TOKENS = 40

Levelled = list[tuple[str, int]]
"""Tokens with their level 0-9."""


def marks(texts: Sequence[str]) -> tuple[str, str]:
    """An opening and a closing mark: angle brackets, at least two, one more than the longest run of them in any of the texts."""
    longest = max((len(run) for text in texts for run in re.findall(r"<+|>+", text)), default=0)
    width = max(2, longest + 1)
    return "<" * width, ">" * width


def marked_line(tokens: Levelled, opening: str, closing: str) -> str:
    """The tokens on one line, every run of tokens from MARKED_LEVEL on between the marks, spaces before it outside them."""
    line, run = "", ""
    texts = one_line_each([text for text, _ in tokens])
    for text, level in zip([*texts, ""], [*(level for _, level in tokens), -1], strict=True):
        if level >= MARKED_LEVEL:
            run += text
            continue
        if run:
            bare = run.lstrip(" ")
            line += " " * (len(run) - len(bare)) + _between(bare, opening, closing) if bare else opening + run + closing
            run = ""
        line += text
    return line


def _between(text: str, opening: str, closing: str) -> str:
    """The text between the marks, apart from them where it would make a chat control token with them: <<s>> holds <s>."""
    marked = opening + text + closing
    return marked if one_line(marked) == marked else f"{opening} {text} {closing}"


def strongest(excerpts: Sequence[Levelled]) -> str:
    """The loudest different tokens, each quoted with its level, loudest first."""
    best: dict[str, int] = {}
    for token, level in (pair for excerpt in excerpts for pair in excerpt if pair[1] >= MARKED_LEVEL):
        text = token.strip() or token
        best[text] = max(level, best.get(text, 0))
    loudest = sorted(best.items(), key=lambda item: -item[1])[:STRONGEST]
    return ", ".join(f"{json.dumps(one_line(text), ensure_ascii=False)} {level}" for text, level in loudest)


def excerpt_lines(excerpts: Sequence[Levelled]) -> str:
    """One numbered line an excerpt."""
    opening, closing = marks([one_line("".join(text for text, _ in excerpt)) for excerpt in excerpts])
    return "\n".join(f"{i}. {marked_line(excerpt, opening, closing).strip()}" for i, excerpt in enumerate(excerpts, start=1))


def chosen(excerpts: Sequence[Excerpt]) -> list[Levelled]:
    """The loudest excerpts, cut around their peaks, with levels relative to the loudest token of them all."""
    loudest = sorted(excerpts, key=lambda excerpt: -float(excerpt.activations.max()))[:SHOWN]
    peak = float(loudest[0].activations.max())
    shown: list[Levelled] = []
    for excerpt in loudest:
        at = int(np.argmax(excerpt.activations))
        window = slice(max(0, at - BEFORE), at + AFTER + 1)
        level = levels(excerpt.activations[window], peak, top=9).tolist()
        shown.append(list(zip(excerpt.tokens[window], level, strict=True)))
    return shown


def _example(data: Mapping[str, Any]) -> list[Levelled]:
    return [[(part, 0) if isinstance(part, str) else (part[0], part[1]) for part in excerpt] for excerpt in data["excerpts"]]


@EXPLAINERS.add("marked-text", needs=frozenset({"chat"}))
class MarkedText:
    """The marked-text explainer around a chat model."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("marked_text")
        self.name = f"marked-text({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    def messages(self, excerpts: Sequence[Excerpt]) -> list[Message]:
        """The conversation: the task, one turn an example, and the excerpts."""
        prompt = self._prompt

        def user(shown: list[Levelled]) -> Message:
            return Message(role="user", content=prompt.render("user", excerpts=excerpt_lines(shown), strongest=strongest(shown)))

        turns = [Message(role="system", content=prompt.render("system"))]
        for example in prompt.examples:
            answer = prompt.render("assistant", lead=prompt.render("lead"), explanation=example["explanation"])
            turns += [user(_example(example)), Message(role="assistant", content=answer)]
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
            few_shots=["".join(token for token, _ in excerpt) for example in self._prompt.examples for excerpt in _example(example)],
            excerpts=excerpts,
        )
