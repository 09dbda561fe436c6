"""Deals documents out to the four splits, one after the other, so that each gets its share of the tokens."""

from collections.abc import Mapping
from types import MappingProxyType

from analyzers.evidence import SPLITS, Split

SHARES: Mapping[Split, float] = MappingProxyType({"explain": 0.40, "select": 0.12, "calibrate": 0.12, "test": 0.36})
"""Of the tokens; the test split is large because a score's interval is over its documents."""


class Splits:
    """Deals documents out: to a split that has none, else to the one furthest below its share of the tokens so far."""

    def __init__(self) -> None:
        self.tokens: dict[Split, int] = dict.fromkeys(SPLITS, 0)

    def assign(self, tokens: int) -> Split:
        """Put a document of so many tokens, at least one; of equals, the first in the order of SPLITS."""
        total = sum(self.tokens.values()) + tokens
        split = max(SPLITS, key=lambda name: (self.tokens[name] == 0, SHARES[name] * total - self.tokens[name]))
        self.tokens[split] += tokens
        return split
