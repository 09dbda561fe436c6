"""How well predicted distances and depths fit the trees of sentences, each sentence by itself.

The measures are those of Hewitt and Manning 2019, "A Structural Probe for Finding Syntax in Word Representations" (N19-1419):

uuas   predicted are the edges of the minimum spanning tree of the predicted distances of the words that are not punctuation; right are
       those that are edges of the tree. Only edges between two words that are not punctuation count. The published code takes the
       spanning tree of the true distances in place of the tree's edges, which is the same unless punctuation has dependents.
dspr   Spearman correlation of each word's predicted and true distances to all words, itself and punctuation among them, averaged over
       the words, in sentences of 5 to 50 words
nspr   the same of depths, one correlation a sentence
root   whether the word of least predicted depth that is not punctuation is the root

Not theirs is uuas_apart: UUAS of the edges that do not tie a word to the next one, punctuation left out, of which a chain has none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from analyzers.probes.trees import Bools, Doubles, Floats, Forest, Ints, chain_edges, spanning_edges

Numbers: TypeAlias = npt.NDArray[np.floating[Any]] | npt.NDArray[np.signedinteger[Any]]
Masked: TypeAlias = "np.ma.MaskedArray[tuple[Any, ...], np.dtype[np.float64]]"

SHORTEST, LONGEST = 5, 50
"""Words of a sentence, punctuation among them, whose correlations count."""


@dataclass(frozen=True, eq=False)
class TreeScores:
    """Each measure of each sentence; of what knows nothing the expected values."""

    length: Ints
    """[sentence] words."""
    edges: Doubles
    """[sentence] of the tree, between words that are not punctuation."""
    correct: Doubles
    """[sentence] of these predicted."""
    apart: Doubles
    """[sentence] edges of the tree that are not between neighbours."""
    apart_correct: Doubles
    """[sentence] of these predicted."""
    dspr: Doubles
    """[sentence] meaningless where not dspr_counts."""
    dspr_counts: Bools
    """[sentence] whether it has 5 to 50 words, and some predictions that differ for each of them."""
    nspr: Doubles
    nspr_counts: Bools
    root: Doubles
    """[sentence] 1 where found."""


def tree_scores(forest: Forest, sentences: Sequence[int] | Ints, distances: Iterable[Floats], depths: Iterable[Floats]) -> TreeScores:
    """Of predictions for some sentences: distances [word, word] and depths [word] of each."""
    rows = []
    for sentence, far, deep in zip(np.asarray(sentences).tolist(), distances, depths, strict=True):
        words = forest.words(sentence)
        keep, n = forest.keep[words], int(forest.lengths[sentence])
        gold, predicted = forest.edges_of(sentence), spanning_edges(far, keep)
        apart = gold - chain_edges(keep)
        counts = SHORTEST <= n <= LONGEST
        by_word, by_word_counts = _mean(spearman(far, forest.distances_of(sentence))) if counts else (0.0, False)
        whole, whole_counts = _mean(spearman(deep[None, :], forest.depths[words][None, :])) if counts else (0.0, False)
        root = np.flatnonzero(keep)[np.argmin(deep[keep])] if keep.any() else -1
        rows.append(
            (
                n,
                len(gold),
                len(gold & predicted),
                len(apart),
                len(apart & predicted),
                by_word,
                by_word_counts,
                whole,
                whole_counts,
                root >= 0 and forest.heads[words][root] == 0,
            )
        )
    return _stacked(rows)


def _mean(correlations: Masked) -> tuple[float, bool]:
    """The mean, which means nothing where not all are defined, and whether they are."""
    return float(correlations.filled(0.0).mean()), not np.ma.getmaskarray(correlations).any()


def chain_scores(forest: Forest, sentences: Sequence[int] | Ints) -> TreeScores:
    """Of sentences read as chains from left to right: neighbours are edges, the first word is the root, and depth is the place."""
    places = [np.arange(forest.lengths[sentence], dtype=np.float64) for sentence in np.asarray(sentences).tolist()]
    return tree_scores(forest, sentences, (np.abs(place[:, None] - place[None, :]) for place in places), places)


def chance_scores(forest: Forest, sentences: Sequence[int] | Ints) -> TreeScores:
    """Expected of distances and depths drawn at random, exactly.

    The spanning tree of random distances has each pair of m words as an edge with chance 2 / m. A word is at no distance from itself
    in any prediction, which makes its distances correlate a little; all other orders are equally likely.
    """
    rows = []
    for sentence in np.asarray(sentences).tolist():
        words, n = forest.words(sentence), int(forest.lengths[sentence])
        kept = int(forest.keep[words].sum())
        gold, counts = forest.edges_of(sentence), SHORTEST <= n <= LONGEST
        apart = gold - chain_edges(forest.keep[words])
        roots = bool(forest.keep[words][forest.heads[words] == 0].any())
        by_word = _self_correlation(forest.distances_of(sentence)) if counts else 0.0
        edges = [part for some in (gold, apart) for part in (len(some), 2 * len(some) / max(kept, 1))]
        rows.append((n, *edges, by_word, counts, 0.0, counts, roots / max(kept, 1)))
    return _stacked(rows)


def ceiling_scores(forest: Forest, sentences: Sequence[int] | Ints) -> TreeScores:
    """Expected of true distances and depths whose ties are broken at random, as predictions that are no whole numbers break them."""
    rows = []
    for sentence in np.asarray(sentences).tolist():
        words, n = forest.words(sentence), int(forest.lengths[sentence])
        gold, counts = forest.edges_of(sentence), SHORTEST <= n <= LONGEST
        apart = gold - chain_edges(forest.keep[words])
        by_word, whole = (_tied(each) if counts else 0.0 for each in (forest.distances_of(sentence), forest.depths[words][None, :]))
        roots = bool(forest.keep[words][forest.heads[words] == 0].any())
        rows.append((n, len(gold), len(gold), len(apart), len(apart), by_word, counts, whole, counts, roots))
    return _stacked(rows)


def _tied(values: npt.NDArray[np.int16]) -> float:
    """Mean over rows [row, value] of the expected Spearman correlation with the same values whose ties are broken at random."""
    n = values.shape[-1]
    return float(np.sqrt(np.square(_ranks(values)).sum(axis=-1) / (n * (n * n - 1) / 12)).mean())


def _self_correlation(distances: npt.NDArray[np.int16]) -> float:
    """Mean over words of the expected Spearman correlation where all is random but a word's distance to itself, the least."""
    n = len(distances)
    ranks = _ranks(distances)
    own, predicted = np.diagonal(ranks), (1 - n) / 2
    spread = np.sqrt(np.square(ranks).sum(axis=-1) * n * (n * n - 1) / 12)
    return float((own * predicted * n / (n - 1) / spread).mean())


def spearman(one: Numbers, other: Numbers) -> Masked:
    """[row] Spearman correlations of rows [row, value], ties sharing their ranks; masked where a row's values are all the same."""
    ranks = [_ranks(values) for values in (one, other)]
    spread = np.sqrt(np.square(ranks[0]).sum(axis=-1) * np.square(ranks[1]).sum(axis=-1))
    return np.ma.masked_array((ranks[0] * ranks[1]).sum(axis=-1) / np.where(spread > 0, spread, 1), spread == 0)


def _ranks(values: Numbers) -> Doubles:
    """[row, value] ranks within rows, ties sharing theirs, less their mean."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2, np.float64)


def _stacked(rows: Sequence[tuple[float, ...]]) -> TreeScores:
    table = np.array(rows, np.float64).reshape(-1, 10).T
    length, edges, correct, apart, apart_correct, dspr, dspr_counts, nspr, nspr_counts, root = table
    return TreeScores(
        length.astype(np.intp),
        edges,
        correct,
        apart,
        apart_correct,
        dspr,
        dspr_counts.astype(np.bool_),
        nspr,
        nspr_counts.astype(np.bool_),
        root,
    )
