"""Words agree with the number before them."""

from evals.number_of import number_of, size_of


def test_only_one_has_no_plural() -> None:
    assert [number_of("item", count) for count in (0, 1, 2, 21, 12_345)] == ["0 items", "1 item", "2 items", "21 items", "12,345 items"]


def test_sizes_are_told_without_powers_of_ten() -> None:
    assert [size_of(size) for size in (1, 4e5, 37e7, 999e6, 1.04e9, 2.6e12)] == ["1 MB", "1 MB", "370 MB", "999 MB", "1.0 GB", "2,600.0 GB"]
