"""Batches of texts of like length: all there, within the bound, alike."""

from hypothesis import given
from hypothesis import strategies as st

from analyzers.padding import like_lengths, padded


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_every_text_is_in_one_batch_within_the_bound_or_alone(lengths: list[int], most: int) -> None:
    batches = list(like_lengths(lengths, most))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[number] for number in batch) <= most
    longest = [max(lengths[number] for number in batch) for batch in batches]
    shortest = [min(lengths[number] for number in batch) for batch in batches]
    assert all(short >= long for short, long in zip(shortest, longest[1:], strict=False))


def test_padding_stands_on_the_right() -> None:
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
