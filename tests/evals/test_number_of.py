"""Words agree with the number before them."""

from evals.number_of import number_of


def test_only_one_has_no_plural() -> None:
    assert [number_of("item", count) for count in (0, 1, 2, 21, 12_345)] == ["0 items", "1 item", "2 items", "21 items", "12,345 items"]
