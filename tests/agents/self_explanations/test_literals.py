"""Lists, objects, strings and numbers, against what json and Python themselves read of the same text."""

import ast
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.self_explanations.literals import before_cut, brackets, frame_items, frame_pairs, number_in, string_content

WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=8)
"""Of any script, with quotes, brackets, commas and backslashes in it."""
NUMBER = st.floats(-1, 1) | st.integers(-9, 9)
ROWS = st.lists(st.tuples(WORD, NUMBER), min_size=1, max_size=5)


def pairs(text: str) -> list[tuple[str, float]]:
    return [(atom.text, number) for frame in brackets(text) for atom, number in frame_pairs(frame)]


@given(ROWS, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_lists_of_pairs_are_what_json_reads(rows: list[tuple[str, float]], indent: Any, escaped: bool) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=escaped)
    assert pairs(text) == [(word, float(number)) for word, number in json.loads(text)]
    assert all(frame.whole for frame in brackets(text))
    assert before_cut(text, brackets(text)) == text


@given(st.lists(st.text("abcé' ,:[]{}", min_size=1, max_size=8), min_size=1, max_size=5), st.lists(NUMBER, min_size=5, max_size=5))
def test_tuples_are_what_python_reads(words: list[str], numbers: list[float]) -> None:
    text = repr(list(zip(words, numbers, strict=False)))
    assert pairs(text) == [(word, float(number)) for word, number in ast.literal_eval(text)]


@given(st.dictionaries(st.text("abcdefgé-", min_size=1, max_size=8), NUMBER, min_size=1, max_size=5))
def test_objects_are_what_json_reads(values: dict[str, float]) -> None:
    names = {"word", "token", "text", "index", "answer"} & values.keys()
    if not names:
        assert pairs(json.dumps(values)) == [(word, float(number)) for word, number in values.items()]


@given(st.lists(WORD, min_size=1, max_size=5), st.booleans())
def test_items_are_what_json_reads(words: list[str], escaped: bool) -> None:
    (frame,) = brackets(json.dumps(words, ensure_ascii=escaped))
    assert frame_items(frame) == words


@given(ROWS, st.data())
def test_what_is_cut_off_has_the_rows_that_are_whole(rows: list[tuple[str, float]], data: st.DataObject) -> None:
    whole = [(f"w{at}{'x' * len(word)}", number) for at, (word, number) in enumerate(rows)]
    text = json.dumps(whole)
    at = data.draw(st.integers(0, len(text)))
    found = pairs(text[:at])
    assert found == [(word, float(number)) for word, number in whole][: len(found)]
    assert len(found) >= text[:at].count("]") - (at == len(text))
    if 0 < at < len(text):
        assert before_cut(f"Words: {text[:at]}", brackets(f"Words: {text[:at]}")) == "Words: "


@pytest.mark.parametrize(
    ("string", "content"),
    [
        ('"a\\nb"', "a\nb"),
        ('"\\u00e9\\t\\\\"', "é\t\\"),
        ("'don\\'t'", "don't"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud83d"', "\ufffd"),
        ("'a\\/b'", "a\\/b"),
        ('"a\\/b"', "a/b"),
        ('"\\q"', "\\q"),
        ("“so”", "so"),
        ("'can''t'", "can't"),
    ],
)
def test_strings_mean_what_they_say(string: str, content: str) -> None:
    assert string_content(string) == content


@given(WORD)
def test_any_string_comes_back_from_json(word: str) -> None:
    assert string_content(json.dumps(word)) == word


@given(st.floats(-1e6, 1e6))
def test_numbers_are_what_python_reads(value: float) -> None:
    assert number_in(repr(value)) == value
    assert number_in(f" **{value:.3f}** ") == float(f"{value:.3f}")
    assert number_in(f"{value:.2f}%") == pytest.approx(float(f"{value:.2f}") / 100)


@pytest.mark.parametrize(
    ("text", "value"), [("−0.5", -0.5), ("+1", 1.0), (".5", 0.5), ("0,25", 0.25), ("５", 5.0), ("1.", 1.0), ("- 2", -2.0)]
)
def test_numbers_in_other_signs(text: str, value: float) -> None:
    assert number_in(text) == value


@pytest.mark.parametrize("text", ["", "one", "1-2", "1,234", "0x10", "1 2", "--1", "9" * 401, "1/2"])
def test_what_is_no_number(text: str) -> None:
    assert number_in(text) is None


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity"])
def test_what_is_no_finite_number_is_known_as_such(text: str) -> None:
    value = number_in(text)
    assert value is not None
    assert math.isnan(value)


@given(st.text("ab\"'[]{}(),:\\ 0.1\n#", max_size=60))
def test_any_text_has_frames(text: str) -> None:
    frames = brackets(text)
    assert [frame.at for frame in frames] == sorted(frame.at for frame in frames)
    assert all(text[frame.at] == frame.opened for frame in frames)
    for frame in frames:
        assert all(isinstance(number, float) for _, number in frame_pairs(frame))
        assert all(isinstance(item, str) for item in frame_items(frame))
