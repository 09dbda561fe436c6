"""The statements to probe, with their states: which could be read, and where they are among what was read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evals.probes.truth_config import TruthConfig
from evals.probes.truth_intervals import Flags
from evals.probes.truth_pairs import negations
from evals.probes.truth_topics import Statement, Topic, apart, drawn, read_topics, without_period
from evals.scores import Indices

if TYPE_CHECKING:
    from analyzers.states.pieces import Piece
    from analyzers.states.store import States


@dataclass(frozen=True)
class Material:
    """What is read, in this order: the statements of all topics, those that are only scored, and negations of the first."""

    topics: tuple[Topic, ...]
    also: tuple[Topic, ...]
    negated: tuple[str | None, ...]
    """[statement of the topics] its negation, where there is one."""
    keep_period: bool
    repeated: int
    """Statements of a topic that an earlier one has, too; they are left out."""
    also_trained: tuple[int, ...]
    """[topic only scored] statements that the topics have, too; they are left out."""

    @classmethod
    def of(cls, config: TruthConfig) -> "Material":
        """Read all files; ExplicateError as read_topics."""
        topics, repeated = apart(read_topics(config.sources))
        others = read_topics(config.also, option="--also", one_class=True)
        kept = drawn(topics, config.limit, config.seed) if config.limit else topics
        also = [apart([other], topics) for other in others]
        return cls(
            tuple(kept),
            tuple(each for (each,), _ in also),
            tuple(negations(kept, others)),
            config.keep_period,
            repeated,
            tuple(lost for _, lost in also),
        )

    @property
    def statements(self) -> list[Statement]:
        """Of all topics."""
        return [statement for topic in self.topics for statement in topic.statements]

    def as_read(self, text: str) -> str:
        """A statement as the model reads it."""
        return text.strip() if self.keep_period else without_period(text)

    def pieces(self, *, only_topics: bool = False) -> "list[Piece]":
        """One for each statement."""
        from analyzers.states.pieces import Piece

        texts = [statement.text for statement in self.statements]
        if not only_topics:
            texts += [statement.text for topic in self.also for statement in topic.statements]
            texts += [text for text in self.negated if text is not None]
        return [Piece.whole(self.as_read(text)) for text in texts]


class Rows:
    """States of the statements of the topics that could be read (see truth_folds.Bank), and of the others."""

    def __init__(self, material: Material, states: "States", kept: Flags, layers: Sequence[int]) -> None:
        """kept: [statement of the topics] those to use; all of them can be read."""
        self.layers = tuple(layers)
        self._rows = rows_of(states, len(material.pieces()))
        self._kept = np.flatnonzero(kept)
        first = len(kept) + sum(map(len, material.also))
        denied = np.array([at for at, text in enumerate(material.negated) if text is not None], np.intp)
        place = np.full(len(kept), -1)
        place[self._kept] = np.arange(len(self._kept))
        found = np.arange(first, first + len(denied))
        # Negations may not have been read where only the topics were, or be too long.
        usable = (place[denied] >= 0) & (self._rows[found] >= 0)
        self.paired: Indices = place[denied[usable]]
        self._denials = found[usable]
        self._layer = lru_cache(maxsize=2)(states.layer)
        self._at = lru_cache(maxsize=2)(lambda layer: self._layer(layer)[self._rows[self._kept]])

    def at(self, layer: int) -> npt.NDArray[np.float32]:
        """float32 [statement, width]"""
        return self._at(layer)

    def negations(self, layer: int) -> npt.NDArray[np.float32]:
        """float32 [pair, width]"""
        return self._layer(layer)[self._rows[self._denials]]

    def others(self, layer: int, first: int, count: int) -> tuple[npt.NDArray[np.float32], Flags]:
        """(float32 [read, width], [statement] whether it was read) of so many pieces from one on."""
        rows = self._rows[first : first + count]
        return self._layer(layer)[rows[rows >= 0]], rows >= 0


def rows_of(states: "States", pieces: int) -> Indices:
    """[piece] the row of its state, -1 where it could not be read or was not."""
    found = np.full(pieces, -1)
    within = states.rows < pieces
    found[states.rows[within]] = np.flatnonzero(within)
    return found
