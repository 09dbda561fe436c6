"""Explains a site to a chat model by text in which the tokens it fires on are <<marked>>.

Facts behind it: a list of tokens with levels costs four prompt tokens a token and weak models read it badly; marked text costs one
(Lee et al. 2023, and measured with a 1.5B model). Corpus text is data: an excerpt is one numbered line, and the marks are longer
than any run of angle brackets in the excerpts, so no corpus text can close its line or look marked.
"""

import json
import re
from collections.abc import Sequence

import numpy as np

from agents.explainers import EXPLAINERS
from agents.explainers.few_shot import FewShot, Levelled
from agents.levels import levels
from agents.llm import LLM
from agents.untrusted import one_line, one_line_each
from analyzers.evidence import Excerpt

SHOWN = 6
"""Excerpts."""
BEFORE, AFTER = 16, 6
"""Tokens shown on either side of an excerpt's peak."""
MARKED_LEVEL = 4
"""Of 0-9, relative to the loudest token of all excerpts shown: from here on a token is marked."""
STRONGEST = 6
"""Tokens listed with their level."""
MAX_TOKENS = 40


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


@EXPLAINERS.add("marked-text", needs=frozenset({"chat"}))
class MarkedText(FewShot):
    """The marked-text explainer around a chat model."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm, "marked-text", "marked_text", max_tokens=MAX_TOKENS)

    def chosen(self, excerpts: Sequence[Excerpt]) -> Sequence[Levelled]:
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

    def user(self, shown: Sequence[Levelled]) -> str:
        """The turn that shows them."""
        return self._prompt.render("user", excerpts=excerpt_lines(shown), strongest=strongest(shown))
