"""Look-up tables, controls without a language model or an explanation: the mean activation of a token in the explain excerpts.

token_lookup: of the token, spaces and case aside, but each kind of white space by itself. bigram_lookup: of the token after that previous
token, backing off to the token alone.
What was never seen is 0, the activation at rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.explanation import Scale, Simulation
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

_Key = tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class LookUp:
    """Predicts raw activation from a table of means by (token,) and, in a bigram look-up, by (previous token, token)."""

    name: str
    means: Mapping[_Key, float] = field(repr=False)
    scale: Scale = "activation"
    prompt: str = ""

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt; the explanation is ignored."""
        del explanation
        return [self._simulate(_normalised(excerpt.tokens)) for excerpt in excerpts]

    def _simulate(self, tokens: list[str]) -> Simulation:
        values = [
            self.means.get((previous, token), self.means.get((token,), 0.0))
            for previous, token in zip([None, *tokens], tokens, strict=False)
        ]
        return Simulation(np.array(values, np.float32), np.ones(len(tokens), np.bool_), self.scale)


def fit_token(excerpts: Sequence[Excerpt]) -> LookUp:
    """Mean raw activation by token, over all tokens of the excerpts."""
    return LookUp("token_lookup", _means(excerpts, longest=1))


def fit_bigram(excerpts: Sequence[Excerpt]) -> LookUp:
    """Mean raw activation by previous token and token, and by token; an excerpt's first token has no previous one."""
    return LookUp("bigram_lookup", _means(excerpts, longest=2))


def _means(excerpts: Sequence[Excerpt], longest: int) -> dict[_Key, float]:
    totals: dict[_Key, list[float]] = {}
    for excerpt in excerpts:
        tokens = _normalised(excerpt.tokens)
        for i, activation in enumerate(excerpt.activations.tolist()):
            for length in range(1, min(longest, i + 1) + 1):
                entry = totals.setdefault(tuple(tokens[i + 1 - length : i + 1]), [0.0, 0])
                entry[0] += activation
                entry[1] += 1
    return {key: total / count for key, (total, count) in totals.items()}


def _normalised(tokens: Sequence[str]) -> list[str]:
    return [token.strip().lower() or token for token in tokens]
