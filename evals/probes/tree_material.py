"""Sentences to train on and to test on, with their trees, and which of them a model can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analyzers.duplicates import Duplicates
from analyzers.errors import ExplicateError
from analyzers.probes.trees import Forest, Ints, is_punctuation
from analyzers.progress import Report, quiet
from analyzers.states.pieces import Piece
from analyzers.treebank import Sentence

if TYPE_CHECKING:
    from analyzers.states.store import States

COMPARING = "look for repeated texts"
HELD_OUT = 10
"""Of how many sentences to train on one is held out, to stop training by and to choose the layer by."""
FEWEST = 10
"""Sentences to train on, and to test on, below which nothing is probed."""


@dataclass(frozen=True, eq=False)
class Material:
    """Sentences that were drawn, those to train on before those to test on."""

    sentences: tuple[Sentence, ...]
    train: int
    """How many of them are to train on."""
    repeated: int
    """Sentences that were not drawn from because their words, or nearly these, stand in another one."""
    short: int
    """Sentences that were not drawn from because fewer than two of their words are not punctuation."""

    @property
    def pieces(self) -> list[Piece]:
        """[sentence] with its words."""
        return [Piece(sentence.text, tuple(word.span for word in sentence.words)) for sentence in self.sentences]


def draw_material(
    train: Sequence[Sentence], test: Sequence[Sentence], *, limit: int, tests: int, seed: int, report: Report = quiet
) -> Material:
    """Draw `limit` sentences to train on and `tests` to test on, 0 for all.

    A sentence is left out if it is the same as one before, or nearly: those to test on come before those to train on, so that nothing
    that is tested was trained on. Raises ExplicateError where too few are left.
    """
    known = Duplicates()
    fresh: list[list[Sentence]] = [[], []]
    repeated = short = done = 0
    for each, new in zip((test, train), fresh, strict=True):
        for sentence in each:
            report(COMPARING, done, len(test) + len(train))
            done += 1
            if sum(not is_punctuation(word.upos, word.xpos) for word in sentence.words) < 2:
                short += 1
            elif known.seen(sentence.text) is not None:
                repeated += 1
            else:
                new.append(sentence)
    report(COMPARING, done, done)
    rng = np.random.default_rng(seed)
    drawn = []
    for kind, new, many in (("test", fresh[0], tests), ("train", fresh[1], limit)):
        order = rng.permutation(len(new))[: many or len(new)]
        drawn.append([new[number] for number in order.tolist()])
        if len(order) < FEWEST:
            raise ExplicateError(f"{len(order)} sentences to {kind} on are too few for a probe; give {FEWEST} or more, each another text")
    return Material((*drawn[1], *drawn[0]), len(drawn[1]), repeated, short)


@dataclass(frozen=True, eq=False)
class Split:
    """Numbers of sentences of the forest."""

    train: Ints
    held_out: Ints
    test: Ints


@dataclass(frozen=True, eq=False)
class Readable:
    """What of the material has states."""

    sentences: tuple[Sentence, ...]
    forest: Forest
    split: Split
    rows: npt.NDArray[np.intp]
    """[word of the forest] its row of the states."""
    unread: int
    """Sentences left out: longer than the model takes, or with a word without a token."""


def readable(material: Material, states: "States", *, seed: int) -> Readable:
    """The sentences all of whose words have states. Raises ExplicateError where these are too few."""
    starts = np.cumsum([0, *(len(sentence.words) for sentence in material.sentences)])
    read = np.zeros(starts[-1], np.bool_)
    read[states.rows] = True
    whole = np.array([read[start:end].all() for start, end in pairwise(starts.tolist())], np.bool_)
    kept = np.flatnonzero(whole).tolist()
    sentences = tuple(material.sentences[number] for number in kept)
    train = int(whole[: material.train].sum())
    for kind, many in (("train", train), ("test", len(kept) - train)):
        if many < FEWEST:
            raise ExplicateError(
                f"the model reads {many} of the sentences to {kind} on whole, which are too few for a probe; give shorter ones, or a model "
                "that takes longer texts"
            )
    words = np.concatenate([np.arange(starts[number], starts[number + 1]) for number in kept])
    order = np.random.default_rng([seed, 1]).permutation(train)
    held_out = max(2, train // HELD_OUT)
    return Readable(
        sentences,
        forest_of(sentences),
        Split(np.sort(order[held_out:]), np.sort(order[:held_out]), np.arange(train, len(kept))),
        np.searchsorted(states.rows, words),
        len(material.sentences) - len(kept),
    )


def forest_of(sentences: Sequence[Sentence]) -> Forest:
    """Their trees."""
    return Forest.of(
        [sentence.heads for sentence in sentences],
        [[is_punctuation(word.upos, word.xpos) for word in sentence.words] for sentence in sentences],
    )
