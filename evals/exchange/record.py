"""What every format of other tools is read into: sites with records of their activations and explanations with their published scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzers.sites import Polarity

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Record:
    """One text with the activations of one site, as it stands in the file."""

    tokens: tuple[str, ...]
    values: Floats
    """[token] activation in the unit and with the sign of the file; of a negative side with its sign turned, so that it fires above 0."""
    group: str
    """What the format says of how it was drawn: `top`, `random`, `quantile 3`, `bin 1.771 to 2.214`, `train`, ..., `scored`."""
    loudest: bool = False
    """Whether it was drawn for being among the loudest of the site."""
    shown: bool = False
    """Whether it was shown to the explainer, as far as known (`Feature.shown_known`)."""
    document: str | None = None
    """Name of its document, where the format has one."""
    start: int = 0
    """Index of the first token in that document."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the file says of it: JSON values."""

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def peak(self) -> float:
        """Loudest activation, at least 0."""
        return max(0.0, float(self.values.max(initial=0.0)))


@dataclass(frozen=True)
class Told:
    """An explanation that somebody gave of a site."""

    text: str
    by: str
    """Who explained: a method and a model, as far as the file says."""
    published: Mapping[str, float | None] = field(default_factory=dict)
    """The scores that came with it, by their own names; None where theirs is undefined."""
    scored: tuple[str, ...] = ()
    """Texts that those scores are of, as far as known."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the file says of it: JSON values."""


@dataclass
class Feature:
    """One side of one site of somebody else's data."""

    site: str
    """Its name there; it need not be one of analyzers.sites."""
    polarity: Polarity = "+"
    model: str = ""
    """The subject's name, where the file says it."""
    corpus: str = ""
    layer: int | None = None
    index: int | None = None
    records: list[Record] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    shown_known: bool = False
    """Whether it is known which records the explainer was shown."""
    firing: float | None = None
    """Share of tokens on which it fires, where the file says it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else the file says of it: JSON values."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Problems that were seen on reading: kind and sentence."""

    @property
    def key(self) -> str:
        """Site and side, as one name."""
        return self.site + ("-" if self.polarity == "-" else "")

    def absorb(self, other: "Feature") -> None:
        """Take over what another file, or another line, says of the same site."""
        self.model, self.corpus = self.model or other.model, self.corpus or other.corpus
        self.layer = other.layer if self.layer is None else self.layer
        self.index = other.index if self.index is None else self.index
        self.firing = other.firing if self.firing is None else self.firing
        self.records += other.records
        self.told += other.told
        self.shown_known = self.shown_known or other.shown_known
        self.facts = {**self.facts, **other.facts}
        self.notes += other.notes


def distinct(records: Sequence[Record]) -> list[Record]:
    """Without records whose text was there before; one that was shown stands for its copies as shown."""
    from dataclasses import replace

    from analyzers.duplicates import normalise

    first: dict[str, int] = {}
    kept: list[Record] = []
    for record in records:
        at = first.setdefault(normalise(record.text), len(kept))
        if at == len(kept):
            kept.append(record)
        elif record.shown and not kept[at].shown:
            kept[at] = replace(kept[at], shown=True)
    return kept
