from hypothesis import given
from hypothesis import strategies as st

from analyzers.evidence import SPLITS
from analyzers.splits import SHARES, Splits


def test_shares_make_a_whole() -> None:
    assert abs(sum(SHARES.values()) - 1) < 1e-12
    assert set(SHARES) == set(SPLITS)


@given(st.lists(st.integers(1, 10_000), min_size=4, max_size=200))
def test_no_split_is_empty_nor_far_from_its_share(sizes: list[int]) -> None:
    """At most one document above its share. Excesses and lacks are equal in sum, so at most three documents below."""
    splits = Splits()
    dealt = [splits.assign(size) for size in sizes]
    for split in SPLITS:
        got = sum(size for size, name in zip(sizes, dealt, strict=True) if name == split)
        assert splits.tokens[split] == got > 0
        assert -3 * max(sizes) <= got - SHARES[split] * sum(sizes) <= max(sizes)


@given(st.lists(st.integers(500, 1000), min_size=300, max_size=400))
def test_shares_of_many_like_documents_are_near_their_target(sizes: list[int]) -> None:
    splits = Splits()
    for size in sizes:
        splits.assign(size)
    for split in SPLITS:
        assert abs(splits.tokens[split] / sum(sizes) - SHARES[split]) < 0.01


def test_the_next_document_goes_where_most_is_lacking() -> None:
    splits = Splits()
    assert [splits.assign(100) for _ in range(8)] == [
        "explain", "test", "select", "calibrate", "explain", "test", "explain", "test"
    ]  # fmt: skip
    # After the fourth all have 100 of 400: explain lacks 60, then test 80 of 500, ...
