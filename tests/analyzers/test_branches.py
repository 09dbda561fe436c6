"""The tree of texts, against the texts themselves."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.branches import branches, rows, shared

texts_of = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=12)


@given(texts=texts_of)
@settings(max_examples=200, deadline=None)
def test_every_text_stands_in_its_tree_and_sees_itself_alone(texts: list[list[int]]) -> None:
    tree = branches(texts)
    seen = tree.visible
    for text, path in zip(texts, tree.paths, strict=True):
        assert tree.ids[path].tolist() == text
        assert tree.depth[path].tolist() == list(range(len(text)))
        for at, place in enumerate(path):
            assert np.flatnonzero(seen[place]).tolist() == sorted(path[: at + 1].tolist())


@given(texts=texts_of)
@settings(max_examples=200, deadline=None)
def test_a_beginning_that_texts_share_stands_once(texts: list[list[int]]) -> None:
    beginnings = {tuple(text[:length]) for text in texts for length in range(1, len(text) + 1)}
    assert len(branches(texts).ids) == len(beginnings)


@given(texts=texts_of, most=st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_rows_hold_every_text_once_within_the_bound(texts: list[list[int]], most: int) -> None:
    found = list(rows(texts, most))
    assert sorted(number for row in found for number in row) == list(range(len(texts)))
    for row in found:
        tree = branches([texts[number] for number in row])
        assert len(tree.ids) <= most or len(row) == 1 or len({tuple(texts[number]) for number in row}) == 1


def test_what_is_shared_is_what_both_begin_with() -> None:
    assert shared([1, 2, 3], [1, 2, 4]) == 2
    assert shared([], [1]) == 0
    assert shared([1, 2], [1, 2, 3]) == 2
