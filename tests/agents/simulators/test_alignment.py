import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agents.simulators.alignment import Row, align

WORDS = st.lists(st.sampled_from(["the", " the", " cat", "sat", ".", "\\n", "é"]), min_size=1, max_size=12)


@given(WORDS)
def test_a_faithful_reply_is_placed_exactly(tokens: list[str]) -> None:
    assert align([Row(i + 1, token, i) for i, token in enumerate(tokens)], tokens) == list(range(len(tokens)))


@given(WORDS, st.data())
def test_lines_left_out_are_missing_and_the_others_keep_their_places(tokens: list[str], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    placed = align([Row(i + 1, token, i) for i, token in enumerate(tokens) if kept[i]], tokens)
    assert placed == [i if kept[i] else None for i in range(len(tokens))]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=10, unique=True), st.data())
def test_renumbered_lines_are_repaired_by_their_tokens(numbers: list[int], data: st.DataObject) -> None:
    # Distinct tokens, so that there is one right answer: the model skipped some and numbered the rest from 1.
    tokens = [f"w{number}" for number in numbers]
    kept = data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    written = [(token, i) for i, token in enumerate(tokens) if kept[i]]
    placed = align([Row(n + 1, token, i) for n, (token, i) in enumerate(written)], tokens)
    assert placed == [i if kept[i] else None for i in range(len(tokens))]


def test_foreign_lines_are_dropped_and_the_first_of_two_wins() -> None:
    rows: Sequence[Row[int]] = [Row(1, "a", 1), Row(1, "a", 2), Row(2, "zebra", 3), Row(None, "c", 4), Row(99, "b", 5)]
    assert align(rows, ["a", "b", "c"]) == [1, None, 4]
    assert align([Row(1, "x", 1)], ["a", "b"]) == [None, None]
    assert align([], ["a"]) == [None]


def test_spaces_and_case_do_not_break_the_match() -> None:
    assert align([Row(1, "The", 1), Row(2, "Cat ", 2), Row(3, " ", 3)], [" the", " cat", " "]) == [1, 2, 3]
    assert json.dumps(align([Row(5, "cat", 7)], ["the", " cat"])) == "[null, 7]"
