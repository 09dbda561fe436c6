"""Hypotheses about a site, with the experiments that speak for and against each."""

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["open", "supported", "refuted"]
_RANK: dict[Status, int] = {"open": 0, "supported": 1, "refuted": -1}


@dataclass
class Hypothesis:
    """What the site might respond to."""

    number: int
    """From 1."""
    text: str
    status: Status = "open"
    support: set[int] = field(default_factory=set)
    """Numbers of the experiments that speak for it."""
    against: set[int] = field(default_factory=set)
    score: float | None = None
    """On the select split, where it was scored."""


class Hypotheses:
    """All hypotheses of one site, in the order in which they came up; equal but for case and spaces is one."""

    def __init__(self) -> None:
        self._by_text: dict[str, Hypothesis] = {}

    def of(self, text: str) -> Hypothesis:
        """The hypothesis of that text, new where there is none."""
        key = " ".join(text.casefold().split())
        return self._by_text.setdefault(key, Hypothesis(len(self._by_text) + 1, text))

    def all(self) -> tuple[Hypothesis, ...]:
        return tuple(self._by_text.values())

    def best_first(self) -> list[Hypothesis]:
        """All that are not refuted: supported before open, then by the score on select (none last), by how much more evidence there is
        for than against, and the latest first."""

        def merit(one: Hypothesis) -> tuple[int, float, int, int]:
            score = float("-inf") if one.score is None else one.score
            return _RANK[one.status], score, len(one.support) - len(one.against), one.number

        return sorted((one for one in self.all() if one.status != "refuted"), key=merit, reverse=True)
