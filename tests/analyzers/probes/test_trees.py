"""Trees against naive searches, and spanning trees against a second implementation of them."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.probes.trees import Forest, chain_edges, distances_and_depths, is_punctuation, spanning_edges


@st.composite
def heads(draw: st.DrawFn, least: int = 1, most: int = 12) -> list[int]:
    """Of a tree in which any word may depend on any other."""
    order = draw(st.permutations(range(draw(st.integers(least, most)))))
    found = [0] * len(order)
    for place, word in enumerate(order[1:], 1):
        found[word] = order[draw(st.integers(0, place - 1))] + 1
    return found


def searched(heads: list[int], start: int) -> list[int]:
    """Steps from a word to each other one, breadth first."""
    steps = {start: 0}
    queue = deque([start])
    while queue:
        word = queue.popleft()
        near = [child for child, head in enumerate(heads) if head == word + 1] + ([heads[word] - 1] if heads[word] else [])
        for other in near:
            if other not in steps:
                steps[other] = steps[word] + 1
                queue.append(other)
    return [steps[word] for word in range(len(heads))]


@given(heads())
def test_distances_and_depths_are_those_of_a_search(heads: list[int]) -> None:
    distances, depths = distances_and_depths(heads)
    assert distances.tolist() == [searched(heads, word) for word in range(len(heads))]
    assert depths.tolist() == searched(heads, heads.index(0))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([0, 0], "2 roots"),
        ([2, 1], "0 roots"),
        ([0, 3, 2], "circle"),
        ([0, 2], "circle"),
        ([0, 5], "outside the sentence of 2"),
        ([0, -1], "outside"),
        ([], "0 roots"),
    ],
)
def test_what_is_no_tree_is_refused(wrong: list[int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        distances_and_depths(wrong)


def test_a_chain_as_long_as_any_sentence() -> None:
    distances, depths = distances_and_depths(list(range(300)))
    assert depths.tolist() == list(range(300))
    assert distances[0, 299] == 299


@given(st.lists(heads(), min_size=1, max_size=5))
def test_a_forest_keeps_each_sentence_apart(trees: list[list[int]]) -> None:
    forest = Forest.of(trees, [[False] * len(each) for each in trees])
    assert len(forest) == len(trees)
    for number, each in enumerate(trees):
        distances, depths = distances_and_depths(each)
        assert np.array_equal(forest.distances_of(number), distances)
        assert np.array_equal(forest.depths[forest.words(number)], depths)
        assert forest.edges_of(number) == {tuple(sorted((word, head - 1))) for word, head in enumerate(each) if head}


def test_edges_of_punctuation_are_left_out() -> None:
    forest = Forest.of([[2, 0, 2, 5, 2]], [[False, False, True, False, False]])
    assert forest.edges_of(0) == {(0, 1), (3, 4), (1, 4)}
    assert forest.edges_of(0) == spanning_edges(forest.distances_of(0), forest.keep)
    assert chain_edges(forest.keep) == {(0, 1), (1, 3), (3, 4)}


def test_a_word_under_punctuation_has_no_edge() -> None:
    assert Forest.of([[2, 3, 0]], [[False, True, False]]).edges_of(0) == set()


@given(st.integers(0, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_spanning_trees_are_prim_s(words: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    keep = rng.random(words) < 0.8
    distances = rng.integers(0, 3, (words, words)).astype(float) if ties else rng.random((words, words)) * 1e-9
    distances = distances + distances.T
    found = spanning_edges(distances, keep)
    kept = np.flatnonzero(keep).tolist()
    assert len(found) == max(len(kept) - 1, 0)
    assert {word for edge in found for word in edge} == (set(kept) if len(kept) > 1 else set())
    # Prim's: from one word on always the nearest other one. Ties leave the sum alone.
    reached, edges = set(kept[:1]), set[tuple[int, int]]()
    while len(reached) < len(kept):
        one, other = min(((a, b) for a in reached for b in set(kept) - reached), key=lambda edge: distances[edge])
        edges.add((min(one, other), max(one, other)))
        reached.add(other)
    assert sum(distances[edge] for edge in found) == pytest.approx(sum(distances[edge] for edge in edges), rel=1e-12)
    assert ties or found == edges


@pytest.mark.parametrize(
    ("upos", "xpos", "expected"),
    [("PUNCT", "HYPH", True), ("PUNCT", "", True), ("SYM", ":", True), ("SYM", "SYM", False), ("NOUN", "NN", False), ("X", "-LRB-", True)],
)
def test_punctuation_is_of_either_tag_set(upos: str, xpos: str, expected: bool) -> None:
    assert is_punctuation(upos, xpos) is expected
