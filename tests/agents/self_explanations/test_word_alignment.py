import unicodedata
from collections.abc import Sequence
from functools import cache
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.self_explanations.word_alignment import Match, align, places
from analyzers.units import spaced, words

TEXT = "The food was cold , but the staff were lovely and the “old” café didn't mind ."
UNITS = tuple(TEXT.split())
WORDS = st.sampled_from(["the", "food", "was", "bad", "and", "staff", "don't", ",", ".", "🙂", "👩‍🍳", "美", "味", "2", "naïve"])


def counts(match: Match) -> tuple[int, ...]:
    return match.exact, match.normalised, match.merged, match.split, match.unmatched, match.invented


def numbered(texts: Sequence[str]) -> list[tuple[str, float]]:
    return [(text, float(at + 1)) for at, text in enumerate(texts)]


def longest(written: Sequence[str], units: Sequence[str]) -> int:
    """Characters of the heaviest common subsequence of equal texts, by the recursion that defines it."""

    @cache
    def best(i: int, j: int) -> int:
        if i == len(written) or j == len(units):
            return 0
        skipped = max(best(i + 1, j), best(i, j + 1))
        return max(skipped, len(units[j]) + best(i + 1, j + 1)) if written[i] == units[j] else skipped

    return best(0, 0)


@given(st.lists(st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable() and bool(text.strip())), max_size=20))
def test_words_written_as_they_are_are_exact(units: list[str]) -> None:
    values, match = align(numbered(units), units)
    assert values == [float(at + 1) for at in range(len(units))]
    assert counts(match) == (len(units), 0, 0, 0, 0, 0)
    assert match.share == (1.0 if units else 0.0)


@given(st.text(max_size=60))
def test_every_unit_of_any_text_is_counted_once(text: str) -> None:
    for units in (words(text).texts, spaced(text).texts):
        written = words(text[::-1] + text.upper()).texts
        values, match = align(numbered(written), units)
        assert len(values) == len(units) == sum(counts(match)[:5])
        assert match.unmatched == values.count(None)
        assert 0 <= match.share <= 1
        assert 0 <= match.invented <= len(written)


@given(st.lists(WORDS, max_size=12), st.data())
@example(["the", "food", "the"], None)
def test_words_left_out_never_shift_values_to_other_words(units: list[str], data: st.DataObject | None) -> None:
    left = sorted(data.draw(st.sets(st.sampled_from(range(len(units)))))) if data and units else [*range(1, len(units))]
    values, match = align([(units[at], float(at)) for at in left], units)
    given_to = [(units[unit], units[int(value)]) for unit, value in enumerate(values) if value is not None]
    assert len(given_to) == len(left)
    assert all(unit == word for unit, word in given_to)
    assert counts(match) == (len(left), 0, 0, 0, len(units) - len(left), 0)
    order = [value for value in values if value is not None]
    assert order == sorted(order)


@given(st.lists(WORDS, min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_words_in_another_order_are_only_matched_to_their_own_text(units: list[str], random: Random) -> None:
    written = list(units)
    random.shuffle(written)
    values, match = align(numbered(written), units)
    matched = [(unit, written[int(value) - 1]) for unit, value in zip(units, values, strict=True) if value is not None]
    assert all(unit == word for unit, word in matched)
    assert len({value for value in values if value is not None}) == len(matched) == match.exact
    assert match.invented == len(units) - len(matched)
    once = [unit for unit in units if units.count(unit) == 1]
    assert all(values[units.index(unit)] == written.index(unit) + 1 for unit in once)


@given(st.lists(WORDS, max_size=9), st.lists(WORDS, max_size=9))
def test_no_way_in_order_matches_more_characters(written: list[str], units: list[str]) -> None:
    # Two signs of a pair such as 美味 could be merged; here every word is one unit.
    values, _ = align(numbered(written), units)
    matched = sum(len(unit) for unit, value in zip(units, values, strict=True) if value is not None)
    assert matched >= longest(tuple(written), tuple(units))


def test_each_occurrence_of_a_word_has_its_own_value_and_neighbours_stay_neighbours() -> None:
    units = ["the", "food", "and", "the", "wine", "and", "the", "staff"]
    values, match = align([("the", 0.1), ("wine", 0.5), ("and", 0.2), ("the", 0.3), ("staff", 0.9)], units)
    assert values == [None, None, None, 0.1, 0.5, 0.2, 0.3, 0.9]
    assert counts(match) == (5, 0, 0, 0, 3, 0)


@pytest.mark.parametrize(
    ("unit", "word"),
    [
        ("The", "the"),
        ("STRASSE", "straße"),
        ("don’t", "don't"),
        ("well-made", "well–made"),
        ("“old”", '"old"'),
        ("movie", "movie!"),
        ("movie.", "movie"),
        ("good", "**good**"),
        ("ﬁne", "fine"),
        ("café", unicodedata.normalize("NFD", "café")),
        ("❤️", "❤"),
        ("ｇｏｏｄ", "good"),
    ],
)
def test_another_form_of_the_same_word_is_normalised(unit: str, word: str) -> None:
    values, match = align([(word, 0.5)], [unit])
    assert values == [0.5]
    assert counts(match) == (0, 1, 0, 0, 0, 0)
    assert places([word], [unit])[0] == [frozenset({0})]


@pytest.mark.parametrize(
    ("unit", "word"), [("were", "we're"), ("ice", "icecream"), ("good", "goods"), ("cafe", "café"), ("!", "?"), ("5", "5.0")]
)
def test_another_word_is_not(unit: str, word: str) -> None:
    values, match = align([(word, 0.5)], [unit])
    assert values == [None]
    assert counts(match) == (0, 0, 0, 0, 1, 1)
    assert match.share == 0
    assert places([word], [unit])[0] == [frozenset()]


def test_a_written_word_over_several_units_gives_its_value_to_each() -> None:
    units = words("A well-made movie. I didn't expect 美味しい food...").texts
    assert units == ("A", "well-made", "movie", ".", "I", "didn't", "expect", "美", "味", "し", "い", "food", ".", ".", ".")
    said = [
        ("A", 0.0),
        ("well-made", 0.4),
        ("movie.", 0.2),
        ("I", 0.0),
        ("didn't", -0.3),
        ("expect", 0.1),
        ("美味しい", 0.9),
        ("food…", 0.5),
    ]
    values, match = align(said, units)
    assert values == [0.0, 0.4, 0.2, 0.2, 0.0, -0.3, 0.1, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5]
    assert counts(match) == (5, 0, 10, 0, 0, 0)


def test_of_several_written_words_for_one_unit_the_largest_magnitude_counts() -> None:
    units = ["I", "don't", "mind", "well-made", "movies."]
    said = [("I", 0.1), ("do", 0.2), ("n't", -0.6), ("mind", 0.3), ("well", 0.5), ("-", 0.0), ("made", 0.4), ("movies", 0.7), (".", 0.0)]
    values, match = align(said, units)
    assert values == [0.1, -0.6, 0.3, 0.5, 0.7]
    assert counts(match) == (2, 0, 0, 3, 0, 0)


@given(st.lists(st.sampled_from(["good", "bad", "don't", "well-made", "食", "🙂"]), min_size=1, max_size=10), st.data())
def test_retokenised_texts_keep_every_value(texts: list[str], data: st.DataObject) -> None:
    ends = [data.draw(st.sampled_from(["", ".", ",", "!?"])) for _ in texts]
    cuts = {"don't": [("do", "n't"), ("don", "'", "t"), ("don’t",)], "well-made": [("well", "-", "made"), ("well–made",)]}
    written, units, expected = [], [], []
    for at, (text, end) in enumerate(zip(texts, ends, strict=True), start=1):
        parts = data.draw(st.sampled_from([(text,), *cuts.get(text, [])]))
        if len(parts) == 1:
            # What stands apart in the text is written as one word.
            written += [(parts[0] + end, float(at))]
            units += [text, *end]
            expected += [float(at)] * (1 + len(end))
        else:
            written += [(part, float(at) if part[-1].isalpha() else 0.0) for part in (*parts, end) if part]
            units += [text + end]
            expected += [float(at)]
    values, match = align(written, units)
    assert values == expected
    assert match.unmatched == match.invented == 0
    assert match.share == 1


def test_a_word_out_of_order_is_matched_where_there_is_no_doubt() -> None:
    units = ["the", "food", "was", "good", "but", "the", "staff", "was", "slow"]
    values, match = align([("slow", -0.9), ("good", 0.8), ("the", 0.1), ("Food", 0.4)], units)
    assert values[8] == -0.9
    assert values[3] == 0.8
    assert values[1] == 0.4
    assert match.invented == 0
    values, match = align([("was", 0.5), ("the", 0.1), ("was", 0.2)], units)
    assert [value for value in values if value is not None] == [0.5, 0.1, 0.2]
    assert values[2] == 0.5
    values, match = align([("good", 0.8), ("was", 0.5)], ["was", "food", "was", "good"])
    assert values == [None, None, None, 0.8]
    assert match.invented == 1


def test_the_share_counts_units_with_a_letter_or_digit() -> None:
    _, match = align([("good", 0.5), ("2", 0.1)], ["good", ",", "2", "x", ".", "🙂"])
    assert match.share == pytest.approx(2 / 3)
    _, match = align([("🙂", 0.5)], ["🙂", "🙃"])
    assert match.share == 0.5
    assert align([("good", 0.5)], [])[1].share == 0
    assert counts(align([], ["good"])[1]) == (0, 0, 0, 0, 1, 0)


def test_more_words_than_there_can_be_are_invented() -> None:
    values, match = align([("a", 0.5)] * 20_000, ["a"] * 3)
    assert values == [0.5] * 3
    assert match.invented == 19_997


@pytest.mark.parametrize(
    ("phrase", "found"),
    [
        ("the", {0, 6, 11}),
        ("The food", {0, 1}),
        ("cold , but", {3, 4, 5}),
        ("cold but", {3, 4, 5}),
        ("cold, but", {3, 4, 5}),
        ('"cold"', {3}),
        ('the "old" café', {11, 12, 13}),
        ("old", {12}),
        ("mind.", {15, 16}),
        ("did n't", {14}),
        ("food cold", set()),
        ("warm", set()),
        ("fo", set()),
        ("", set()),
        (".", {16}),
    ],
)
def test_the_places_of_a_phrase(phrase: str, found: set[int]) -> None:
    [units], match = places([phrase], UNITS)
    assert units == found
    assert match.invented == (not found)
    assert match.unmatched == len(UNITS) - len(found)
    assert sum(counts(match)[:5]) == len(UNITS)


def test_phrases_are_counted_by_their_closest_form() -> None:
    _, match = places(["The", "lovely", "mind.", "did n't", "“old”", "horse"], UNITS)
    assert counts(match) == (3, 2, 2, 1, len(UNITS) - 8, 1)


@given(st.lists(WORDS, min_size=1, max_size=10), st.data())
def test_places_are_all_runs_of_equal_units(units: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(units) - 1))
    end = data.draw(st.integers(start + 1, len(units)))
    phrase = units[start:end]
    [found], match = places([" ".join(phrase)], units)
    naive = {at + n for at in range(len(units)) for n in range(len(phrase)) if units[at : at + len(phrase)] == phrase}
    assert found == naive
    assert match.invented == 0
    assert match.exact == len(naive)


def test_places_in_texts_without_spaces() -> None:
    units = words("这家餐厅很好吃👩‍🍳,很好!").texts
    found, match = places(["很好", "餐厅", "👩‍🍳", "难吃"], units)
    assert ["".join(units[unit] for unit in sorted(some)) for some in found] == ["很好很好", "餐厅", "👩‍🍳", ""]
    assert match.invented == 1
