"""Demonstrations and asked items are apart and of every class, whatever the items are."""

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from evals.icl.drawing import demonstrations, draw, shown_again
from evals.icl.task import IclItem

LABELS = ("a", "b", "c")


def items(classes: list[int]) -> list[IclItem]:
    return [IclItem(number, f"text {number}", label) for number, label in enumerate(classes)]


@given(
    classes=st.lists(st.integers(0, 2), max_size=40),
    shots=st.integers(1, 3),
    n=st.integers(0, 12),
    seeds=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_text_is_in_two_parts_and_every_class_is_shown_alike(classes: list[int], shots: int, n: int, seeds: int, seed: int) -> None:
    given_items = items([*[0, 1, 2] * (2 * shots), 0, 1, *classes])
    counts = Counter(item.label for item in given_items)
    drawn = draw(given_items, LABELS, shots=shots, n=max(n, 2) if n else 0, seeds=seeds, seed=seed)
    kept = {label: max(2 * shots, min(seeds * shots, count // 2)) for label, count in counts.items()}
    free = sum(max(0, count - kept[label]) for label, count in counts.items())
    assert len(drawn.asked) == (min(free, max(n, 2)) if n else free)
    assert (len(drawn.shown), len(drawn.further)) == (seeds, seeds)
    for shown, further in zip(drawn.shown, drawn.further, strict=True):
        assert Counter(item.label for item in shown) == {0: shots, 1: shots, 2: shots}
        assert sorted(item.number for item in chain(drawn.asked, shown, further)) == list(range(len(given_items)))
    # Of a class as many are shown as there can be without showing one again.
    for label in range(3):
        own = [item.number for shown in drawn.shown for item in shown if item.label == label]
        left = counts[label] - sum(item.label == label for item in drawn.asked)
        fresh = min(seeds, left // shots) * shots
        assert len(set(own[:fresh])) == fresh
        assert shown_again(drawn, 3).get(label) == ((len(set(own)), seeds * shots) if len(set(own)) < seeds * shots else None)
        assert (label in shown_again(drawn, 3)) == (fresh < seeds * shots)
    assert draw(given_items, LABELS, shots=shots, n=max(n, 2) if n else 0, seeds=seeds, seed=seed) == drawn


def test_seeds_show_different_demonstrations_in_different_orders() -> None:
    drawn = draw(items([0, 1, 2] * 20), LABELS, shots=2, n=10, seeds=8, seed=0)
    assert len({tuple(item.number for item in shown) for shown in drawn.shown}) == 8
    assert len({tuple(item.label for item in shown) for shown in drawn.shown}) > 3


def test_where_all_is_asked_about_every_draw_still_shows_other_items() -> None:
    drawn = draw(items([0, 1, 2] * 20), LABELS, shots=2, n=0, seeds=5, seed=0)
    shown = [item.number for own in drawn.shown for item in own]
    assert len(shown) == len(set(shown)) == 30
    assert len(drawn.asked) == 30
    assert shown_again(drawn, 3) == {}
    # Of few items half are asked about, and the draws must share the rest.
    few = draw(items([0, 1, 2] * 6), LABELS, shots=1, n=0, seeds=5, seed=0)
    assert (len(few.asked), shown_again(few, 3)) == (9, {0: (3, 5), 1: (3, 5), 2: (3, 5)})


def test_too_few_items_of_a_class_name_it_and_the_remedy() -> None:
    with pytest.raises(ExplicateError, match=r"the label 'c' has 1 item, and 2 of each are shown; .*--shots"):
        draw(items([0, 0, 1, 1, 2]), LABELS, shots=2, n=0, seeds=1, seed=0)
    with pytest.raises(ExplicateError, match="0 can be asked about"):
        draw(items([0, 1, 2]), LABELS, shots=1, n=0, seeds=1, seed=0)


def test_where_nothing_is_asked_every_item_may_be_shown() -> None:
    given_items = items([0, 0, 1, 1, 2, 2])
    assert sorted(item.number for item in demonstrations(given_items, LABELS, shots=2, seed=0)) == list(range(6))
    shown = {tuple(item.number for item in demonstrations(given_items, LABELS, shots=1, seed=seed)) for seed in range(20)}
    assert len(shown) > 10
    assert {number for one in shown for number in one} == set(range(6))
    with pytest.raises(ExplicateError, match="the label 'a' has 2 items, and 3 of each are shown"):
        demonstrations(given_items, LABELS, shots=3, seed=0)
