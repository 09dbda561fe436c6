"""Explains a site without a language model: `the word "such"`, from the loudest tokens of the excerpts."""

from collections import Counter
from collections.abc import Sequence

from agents.explainers import EXPLAINERS
from agents.explanation import Explanation
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

LOUD = 0.5
"""Share of the loudest activation from which a token counts."""
SHARE = 0.2
"""Share of the loud activation that a word beyond the first must have to be named."""
MOST = 3
"""Words named."""


def loud_words(excerpts: Sequence[Excerpt]) -> list[tuple[str, float]]:
    """Words with their share of the activation of the loud tokens, largest first (then alphabetically); [] where nothing fires.

    A word is a token without the spaces around it, in lower case; a token of spaces or line breaks alone stays as it is.
    """
    peak = max((float(excerpt.activations.max()) for excerpt in excerpts), default=0.0)
    if peak <= 0:
        return []
    mass: Counter[str] = Counter()
    for excerpt in excerpts:
        for token, activation in zip(excerpt.tokens, excerpt.activations.tolist(), strict=True):
            if activation >= LOUD * peak:
                mass[token.strip().lower() or token] += activation
    total = mass.total()
    return [(word, value / total) for word, value in sorted(mass.items(), key=lambda item: (-item[1], item[0]))]


def template_text(words: Sequence[str]) -> str:
    """`the word "such"`, `the word "upon" or "on"`; `the token` where not all are made of letters."""
    noun = "word" if all(word.isalpha() for word in words) else "token"
    quoted = [f'"{one_line(word)}"' for word in words]
    return f"the {noun} " + (" or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0])


@EXPLAINERS.add("template")
class Template:
    """The template explainer: deterministic, so it has one candidate whatever is asked."""

    name = "template"
    prompt = ""

    async def explain(self, excerpts: Sequence[Excerpt], *, candidates: int, seed: int) -> list[Explanation | Failed]:  # noqa: ARG002
        """One explanation from all excerpts; Failed where the site never fires in them."""
        words = loud_words(excerpts)
        if not words:
            return [Failed("explain", "the site fires on none of the excerpts")]
        named = [word for i, (word, share) in enumerate(words[:MOST]) if i == 0 or share >= SHARE]
        return [Explanation(template_text(named), self.name)]
