"""Several excerpts as scorers show them together: one numbered line each, with the tokens that the site fires on between marks."""

from collections.abc import Sequence
from typing import Any

from agents.explainers.few_shot import Levelled
from agents.explainers.marked_text import MARKED_LEVEL, excerpt_lines
from analyzers.evidence import Excerpt
from evals.scoring.mark_placing import Bools


def lines(excerpts: Sequence[tuple[Excerpt, Bools]]) -> str:
    """One line an excerpt, with these of its tokens marked."""
    return excerpt_lines([_levelled(list(zip(excerpt.tokens, marked.tolist(), strict=True))) for excerpt, marked in excerpts])


def example_lines(excerpts: Sequence[Any]) -> str:
    """The same of a prompt's example: each excerpt a list of pieces of text, a marked one in a list of its own."""
    return excerpt_lines([_levelled([(part, False) if isinstance(part, str) else (part[0], True) for part in parts]) for parts in excerpts])


def _levelled(tokens: Sequence[tuple[str, bool]]) -> Levelled:
    return [(text, MARKED_LEVEL if marked else 0) for text, marked in tokens]
