"""Dependency trees as distances between words: how many edges there are between two, and between each and the root."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.intp]
Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Doubles: TypeAlias = npt.NDArray[np.float64]

PTB_PUNCTUATION = frozenset({"''", ",", ".", ":", "``", "-LRB-", "-RRB-"})
"""Tags of the Penn Treebank that the paper counts as punctuation."""


def is_punctuation(upos: str, xpos: str) -> bool:
    """Of a word by its tags: the universal PUNCT, which a treebank of another tag set has, or one of the paper's."""
    return upos == "PUNCT" or xpos in PTB_PUNCTUATION


def distances_and_depths(heads: Sequence[int] | Ints) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """([word, word], [word]) edges between words, and between each word and the root.

    heads [word]: the number of the word that it depends on, from 1; 0 of the root. Raises ValueError where that is no tree with one root.
    """
    above, n = _ancestors(heads), len(heads)
    depths = above.sum(axis=1) - 1
    # Two words have in common the ancestors of the lowest one that they share, itself and the node above the root counted.
    shared = (above.astype(np.float32) @ above.T.astype(np.float32)).astype(np.int32) - 1
    distances = depths[:, None] + depths[None, :] - 2 * shared
    return distances.astype(np.int16).reshape(n, n), (depths - 1).astype(np.int16)


def _ancestors(heads: Sequence[int] | Ints) -> Bools:
    """[word, node] whether the node is above the word or the word itself; node 0 is above the root."""
    parents = np.concatenate([[0], np.asarray(heads, np.intp)])
    n = len(parents) - 1
    if parents.min() < 0 or parents.max() > n:
        raise ValueError(f"a head lies outside the sentence of {n} words")
    if np.count_nonzero(parents[1:] == 0) != 1:
        raise ValueError(f"{np.count_nonzero(parents[1:] == 0)} roots among {n} words in place of one")
    above, jump = np.eye(n + 1, dtype=np.bool_), parents
    for _ in range(n.bit_length() + 1):
        above = above | above[jump]
        jump = jump[jump]
    if jump.any():
        raise ValueError("words depend on one another in a circle")
    return above[1:]


@dataclass(frozen=True, eq=False)
class Forest:
    """The trees of many sentences, their words one after the other."""

    starts: Ints
    """[sentence + 1] its first word, and the end of the last sentence."""
    heads: Ints
    """[word] number of its head in its sentence, from 1; 0 of the root."""
    keep: Bools
    """[word] whether it is not punctuation."""
    depths: npt.NDArray[np.int16]
    """[word]"""
    distances: npt.NDArray[np.int16]
    """[sentence's pair of words], row by row, one sentence after the other."""

    @classmethod
    def of(cls, heads: Sequence[Sequence[int]], punctuation: Sequence[Sequence[bool]]) -> "Forest":
        """heads and punctuation: [sentence][word], as in distances_and_depths, whose ValueError it raises."""
        trees = [distances_and_depths(each) for each in heads]
        starts = np.cumsum([0, *(len(each) for each in heads)], dtype=np.intp)
        return cls(
            starts,
            np.array([head for each in heads for head in each], np.intp),
            ~np.array([mark for each in punctuation for mark in each], np.bool_),
            np.concatenate([depths for _, depths in trees]) if trees else np.empty(0, np.int16),
            np.concatenate([distances.ravel() for distances, _ in trees]) if trees else np.empty(0, np.int16),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> Ints:
        """[sentence] words, punctuation among them."""
        return np.diff(self.starts)

    @cached_property
    def squares(self) -> Ints:
        """[sentence + 1] where its pairs of words begin in `distances`."""
        return np.concatenate([[0], np.cumsum(self.lengths**2)]).astype(np.intp)

    def words(self, sentence: int) -> slice:
        """Its words in arrays over words."""
        return slice(int(self.starts[sentence]), int(self.starts[sentence + 1]))

    def distances_of(self, sentence: int) -> npt.NDArray[np.int16]:
        """[word, word] of one sentence."""
        n = int(self.lengths[sentence])
        return self.distances[self.squares[sentence] : self.squares[sentence + 1]].reshape(n, n)

    def edges_of(self, sentence: int) -> set[tuple[int, int]]:
        """Of one sentence those between words that are not punctuation: numbers from 0, the smaller first."""
        heads, keep = self.heads[self.words(sentence)], self.keep[self.words(sentence)]
        return {_ordered(word, head - 1) for word, head in enumerate(heads.tolist()) if head and keep[word] and keep[head - 1]}


def spanning_edges(distances: Floats, keep: Bools) -> set[tuple[int, int]]:
    """The minimum spanning tree over the words to keep: edges of numbers from 0, the smaller first.

    distances [word, word], of which only one half is read. Equal distances are taken in the order of the words.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    words = np.flatnonzero(keep)
    if len(words) < 2:
        return set()
    one, other = np.triu_indices(len(words), 1)
    # A tree hangs on the order of the distances alone, and to scipy a distance of 0 is no edge.
    order = np.argsort(distances[words[one], words[other]], kind="stable")
    places = np.zeros((len(words), len(words)))
    places[one[order], other[order]] = np.arange(1, len(order) + 1)
    tree = minimum_spanning_tree(places).tocoo()
    return {_ordered(int(words[a]), int(words[b])) for a, b in zip(tree.row, tree.col, strict=True)}


def chain_edges(keep: Bools) -> set[tuple[int, int]]:
    """Every word to keep and the next one."""
    words = np.flatnonzero(keep).tolist()
    return set(pairwise(words))


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
