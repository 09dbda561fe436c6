"""What every format of other tools is read into: sites with records of their activations and explanations with their published scores."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzers.duplicates import normalise
from analyzers.sites import Polarity

Floats = npt.NDArray[np.float64]

SHOWN_KEY = "shown_to_explainer"
"""What exports of this program say beside an explanation: the texts that were shown, or null where that is not known."""


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
    """Whether explanations come from it, as far as known (`Feature.shown_known`): an explainer was shown it, or it chose among them."""
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
    stated: list[tuple[str, ...] | None] = field(default_factory=list)
    """While it is read: the texts that the data itself says were shown, of each explanation that says so; None where nobody knows."""
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

    @property
    def size(self) -> int:
        """What it takes of the memory, in tokens (`options.MOST_HELD`)."""
        simulated = sum(2 * len(record.details.get("expected_activations", ())) for record in self.records)
        tokens = sum(len(record.tokens) + 32 for record in self.records) + simulated
        return tokens + sum(32 * (1 + len(told.scored)) for told in self.told) + 32

    def absorb(self, other: "Feature") -> None:
        """Take over what another file, or another line, says of the same site."""
        self.model, self.corpus = self.model or other.model, self.corpus or other.corpus
        self.layer = other.layer if self.layer is None else self.layer
        self.index = other.index if self.index is None else self.index
        self.firing = other.firing if self.firing is None else self.firing
        self.records += other.records
        self.told += other.told
        self.shown_known = self.shown_known or other.shown_known
        self.stated += other.stated
        self.facts = {**self.facts, **other.facts}
        self.notes += other.notes


def distinct(records: Sequence[Record]) -> list[Record]:
    """Without records whose text was there before; one that was shown stands for its copies as shown."""
    first: dict[str, int] = {}
    kept: list[Record] = []
    for record in records:
        at = first.setdefault(normalise(record.text), len(kept))
        if at == len(kept):
            kept.append(record)
        elif record.shown and not kept[at].shown:
            kept[at] = replace(kept[at], shown=True)
    return kept


def shown_texts(feature: Feature) -> list[str] | None:
    """What an export says under SHOWN_KEY: each text that was shown, or is of a document that was, once; None where that is not known."""
    documents = {record.document for record in feature.records if record.shown} - {None}
    found = (record.text for record in feature.records if record.shown or record.document in documents)
    return list(dict.fromkeys(found)) if feature.shown_known else None


def mark_shown(feature: Feature, texts: Collection[str] = ()) -> None:
    """Count the records of these texts, and of those that the data states, as shown, and no others."""
    known = {normalise(text) for text in (*texts, *(text for each in feature.stated for text in each or ()))}
    feature.records = [replace(record, shown=normalise(record.text) in known) for record in feature.records]
