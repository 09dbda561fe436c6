"""Measures of trees against loops and scipy, exact trees, and what chance gets against what is drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyzers.probes.tree_measures import TreeScores, ceiling_scores, chain_scores, chance_scores, spearman, tree_scores
from analyzers.probes.trees import Floats, Forest


def random_forest(seed: int, sentences: int, *, least: int = 2, most: int = 14, marks: float = 0.15) -> Forest:
    rng = np.random.default_rng(seed)
    trees, punctuation = [], []
    for _ in range(sentences):
        order = rng.permutation(int(rng.integers(least, most + 1)))
        heads = np.zeros(len(order), int)
        for place in range(1, len(order)):
            heads[order[place]] = order[rng.integers(place)] + 1
        trees.append(heads.tolist())
        punctuation.append((rng.random(len(order)) < marks).tolist())
    return Forest.of(trees, punctuation)


def drawn(n: int, rng: np.random.Generator) -> Floats:
    """[word, word] random distances."""
    half = np.triu(rng.random((n, n)), 1)
    return half + half.T


def exact(forest: Forest) -> TreeScores:
    every = range(len(forest))
    depths = (forest.depths[forest.words(each)].astype(float) for each in every)
    return tree_scores(forest, every, (forest.distances_of(each).astype(float) for each in every), depths)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_spearman_is_scipy_s(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 4, (3, 7)) if ties else rng.random((3, 7)) for _ in range(2))
    one[0] = 1
    found = spearman(one.astype(float), other.astype(float))
    assert found.mask[0]
    for row in (1, 2):
        if len(set(one[row])) > 1 and len(set(other[row])) > 1:
            assert found[row] == pytest.approx(spearmanr(one[row], other[row]).statistic)


def test_the_true_tree_is_found_whole() -> None:
    forest = random_forest(0, 60, marks=0)
    found = exact(forest)
    assert np.array_equal(found.correct, found.edges)
    assert np.array_equal(found.apart_correct, found.apart)
    assert found.edges.sum() == forest.lengths.sum() - len(forest)
    assert found.root.all()
    assert found.dspr_counts.sum() == (forest.lengths >= 5).sum() > 20
    assert np.allclose(found.dspr[found.dspr_counts], 1)
    assert np.allclose(found.nspr[found.nspr_counts], 1)


def test_measures_of_random_predictions_are_those_of_loops() -> None:
    forest = random_forest(1, 40)
    rng = np.random.default_rng(2)
    some = [3, 7, 0, *range(20, 40)]
    distances = [drawn(n, rng) for n in forest.lengths[some]]
    depths = [rng.random(n) for n in forest.lengths[some]]
    found = tree_scores(forest, some, distances, depths)
    for place, sentence in enumerate(some):
        words = forest.words(sentence)
        heads, keep, n = forest.heads[words].tolist(), forest.keep[words].tolist(), len(forest.heads[words])
        assert found.edges[place] == sum(keep[w] and keep[h - 1] for w, h in enumerate(heads) if h)
        kept = [w for w in range(n) if keep[w]]
        root = min(kept, key=lambda w: depths[place][w]) if kept else None
        assert found.root[place] == (root is not None and heads[root] == 0)
        assert found.dspr_counts[place] == (5 <= n <= 50)
        if 5 <= n <= 50:
            gold = forest.distances_of(sentence)
            by_word = [spearmanr(distances[place][w], gold[w]).statistic for w in range(n)]
            assert found.dspr[place] == pytest.approx(np.mean(by_word))
            assert found.nspr[place] == pytest.approx(spearmanr(depths[place], forest.depths[words]).statistic)
    assert (found.correct <= found.edges).all()
    assert 0 < found.correct.sum() < found.edges.sum()


def test_sentences_of_other_lengths_have_no_correlation() -> None:
    chains = [list(range(n)) for n in (4, 5, 50, 51)]
    found = exact(Forest.of(chains, [[False] * len(each) for each in chains]))
    assert found.dspr_counts.tolist() == found.nspr_counts.tolist() == [False, True, True, False]


def test_predictions_that_do_not_differ_have_no_correlation() -> None:
    forest = Forest.of([list(range(6))] * 2, [[False] * 6] * 2)
    flat, fine = np.zeros((6, 6)), forest.distances_of(1).astype(float)
    found = tree_scores(forest, [0, 1], [flat, fine], [np.ones(6), np.arange(6.0)])
    assert found.dspr_counts.tolist() == found.nspr_counts.tolist() == [False, True]


def test_a_chain_has_no_edges_apart_and_all_of_a_chain() -> None:
    forest = random_forest(3, 30)
    found = chain_scores(forest, range(30))
    assert found.apart.sum() > 30
    assert not found.apart_correct.any()
    near = [sum(all(forest.keep[forest.words(s)][a + 1 : b].sum() == 0 for _ in "a") for a, b in forest.edges_of(s)) for s in range(30)]
    assert found.correct.tolist() == near
    chain = Forest.of([list(range(9))], [[False] * 9])
    of_chain = chain_scores(chain, [0])
    assert (of_chain.correct, of_chain.dspr, of_chain.nspr, of_chain.root) == (8, 1, 1, 1)


def test_chance_is_the_mean_of_random_predictions() -> None:
    forest = random_forest(4, 8, least=5, most=9)
    rng = np.random.default_rng(5)
    repeats = []
    for _ in range(150):
        distances = [drawn(n, rng) for n in forest.lengths]
        repeats.append(tree_scores(forest, range(8), distances, [rng.random(n) for n in forest.lengths]))
    expected = chance_scores(forest, range(8))
    for name in ("correct", "apart_correct", "dspr", "nspr", "root"):
        values = np.stack([getattr(one, name) for one in repeats])
        error = values.std(axis=0) / np.sqrt(len(repeats))
        assert (np.abs(values.mean(axis=0) - getattr(expected, name)) <= 4 * error + 1e-9).all(), name
    for name in ("length", "edges", "apart", "dspr_counts", "nspr_counts"):
        assert np.array_equal(getattr(repeats[0], name), getattr(expected, name)), name
    assert expected.dspr[expected.dspr_counts].min() > 0.1


def test_the_ceiling_is_the_mean_of_true_trees_with_broken_ties() -> None:
    forest = random_forest(6, 8, least=4, most=9)
    rng = np.random.default_rng(7)
    repeats = []
    for _ in range(150):
        distances = [forest.distances_of(s) + 0.01 * drawn(n, rng) for s, n in enumerate(forest.lengths)]
        depths = [forest.depths[forest.words(s)] + 0.01 * rng.random(n) for s, n in enumerate(forest.lengths)]
        repeats.append(tree_scores(forest, range(8), distances, depths))
    expected = ceiling_scores(forest, range(8))
    for name in ("dspr", "nspr"):
        values = np.stack([getattr(one, name) for one in repeats])
        error = values.std(axis=0) / np.sqrt(len(repeats))
        assert (np.abs(values.mean(axis=0) - getattr(expected, name)) <= 4 * error + 1e-9).all(), name
        assert 0.7 < getattr(expected, name)[expected.dspr_counts].mean() < 1
    for name in ("length", "edges", "correct", "apart", "apart_correct", "dspr_counts", "nspr_counts", "root"):
        assert np.array_equal(getattr(repeats[0], name), getattr(expected, name)), name
