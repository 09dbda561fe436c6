"""Texts cut into units and written again with some of them taken away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from analyzers.perturbations import OPERATORS
from analyzers.units import CUTS, cut, words

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("The food was cold, but good.", ["The", "food", "was", "cold", ",", "but", "good", "."]),
        ("don't stop well-known 3.5 1,000 e.g. x", ["don't", "stop", "well-known", "3.5", "1,000", "e.g", ".", "x"]),
        ("料理は美味しい", ["料", "理", "は", "美", "味", "し", "い"]),
        ("это очень вкусно", ["это", "очень", "вкусно"]),
        ("ยา ดี", None),
        ("हिन्दी में खाना अच्छा था", ["हिन्दी", "में", "खाना", "अच्छा", "था"]),
        ("தமிழ் நன்று", ["தமிழ்", "நன்று"]),
        ("السَّلامُ عليكم", ["السَّلامُ", "عليكم"]),
        ("cafe\u0301 noir", ["cafe\u0301", "noir"]),
        ("nice 👍🏽 👨‍👩‍👧 🇩🇪!", ["nice", "👍🏽", "👨‍👩‍👧", "🇩🇪", "!"]),
        ("", []),
        ("  \n ", []),
        ("wow...", ["wow", ".", ".", "."]),
    ],
)
def test_words(text: str, units: list[str] | None) -> None:
    found = list(words(text).texts)
    if units is None:
        # Thai: a vowel sign or tone mark stays with the sign before it.
        assert "".join(found) == text.replace(" ", "")
        assert not any(unit[0] in "ีิ" for unit in found)
    else:
        assert found == units


def test_sentences() -> None:
    text = 'It was cold. "Was it?" Yes, 3.5 degrees! 寒い。とても。 No end\n\nNew part'
    assert list(cut(text, "sentence").texts) == [
        "It was cold.",
        '"Was it?"',
        "Yes, 3.5 degrees!",
        "寒い。",
        "とても。",
        "No end",
        "New part",
    ]


@given(text=st.text(max_size=60), kind=st.sampled_from(sorted(CUTS)))
@settings(max_examples=300, deadline=None)
def test_units_are_in_order_apart_and_leave_nothing_but_space_out(text: str, kind: str) -> None:
    units = cut(text, kind)
    at = 0
    for start, end in units.spans:
        assert at <= start < end
        assert not text[at:start].strip()
        at = end
    assert not text[at:].strip()
    assert units.written({}) == (text if len(units) else "")
    assert units.written(dict.fromkeys(range(len(units)))) == ""


@pytest.mark.parametrize(
    ("text", "out", "left"),
    [
        ("The food was cold", {1}, "The was cold"),
        ("The food was cold", {0}, "food was cold"),
        ("The food was cold", {3}, "The food was"),
        ("cold, but good.", {0}, ", but good."),
        ("cold, but good.", {1}, "cold but good."),
        ("so (good) then", {1}, "so good) then"),
        ("a\n\nb c", {1}, "a\n\nc"),
        ("a b c d", {1, 2}, "a d"),
        ("cold—lovely good/bad", {1, 4}, "cold lovely good bad"),
        ("料理は美味", {2}, "料理美味"),
    ],
)
def test_what_is_left_out_leaves_no_gap_and_melts_nothing(text: str, out: set[int], left: str) -> None:
    assert words(text).written(dict.fromkeys(out)) == left


def test_operators() -> None:
    units = words("Great food , really")
    others = ["bad", "great", "tea"]
    assert sorted(OPERATORS.all()) == ["delete", "mask", "neutral", "replace"]
    assert OPERATORS.get("delete")(units, 0, others, RNG) is None
    assert OPERATORS.get("mask")(units, 0, others, RNG) == "[REDACTED]"
    neutral = OPERATORS.get("neutral")
    assert [neutral(units, unit, others, RNG) for unit in range(4)] == ["Something", "something", None, "something"]
    assert neutral(cut("It was cold. I left.", "sentence"), 0, others, RNG) == "There is something more to say."
    drawn = {OPERATORS.get("replace")(units, 0, others, np.random.default_rng(seed)) for seed in range(20)}
    assert drawn == {"bad", "tea"}
    with pytest.raises(ExplicateError, match="no other unit"):
        OPERATORS.get("replace")(units, 0, ["GREAT"], RNG)
    with pytest.raises(ExplicateError, match="delete, mask, neutral, replace"):
        OPERATORS.get("shuffle")
    with pytest.raises(ExplicateError, match="sentence, spaced, word"):
        cut("text", "letter")
