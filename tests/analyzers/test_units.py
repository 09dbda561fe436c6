"""Texts cut into units and written again with some of them taken away."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

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


@given(text=st.text(max_size=60), kind=st.sampled_from(sorted(CUTS.keys() - {"span"})))
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
    ("text", "units"),
    [
        ("The food was cold, but good.", ["The food was cold", "but good"]),
        ("Cold; dry: sad - really (see page 3-5)!", ["Cold", "dry", "sad", "really", "see page 3-5"]),
        ("cold—lovely, 1914–1918", ["cold", "lovely", "1914–1918"]),
        ("It was well-known, don't ask. At 10:30 it cost 1,000.50, or .5 more?", None),
        ("“Was it?” he said. ‘No’, I said", ["Was it", "he said", "No", "I said"]),
        ("Das „gute“ Essen, kalt", ["Das „gute“ Essen", "kalt"]),
        ("寒い。とても、良い！「はい」と言った", ["寒い", "とても", "良い", "はい", "と言った"]),
        ("是的，很好；不（真的）", ["是的", "很好", "不", "真的"]),
        ("السلام، عليكم؟ نعم", ["السلام", "عليكم", "نعم"]),
        ("खाना अच्छा था। सच", ["खाना अच्छा था", "सच"]),
        ("nice 👍🏽 👨‍👩‍👧, 50% off #1.", ["nice 👍🏽 👨‍👩‍👧", "50% off #1"]),
        ("one\n\ntwo\nlines", ["one", "two\nlines"]),
        ("wait...what?!no", ["wait", "what", "no"]),
        ("word", ["word"]),
        (" ?! ", ["?!"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_phrases(text: str, units: list[str] | None) -> None:
    expected = ["It was well-known", "don't ask", "At 10:30 it cost 1,000.50", "or .5 more"] if units is None else units
    assert list(cut(text, "span").texts) == expected


PUNCTUATED = st.text(
    st.one_of(st.characters(), st.sampled_from(" \n,;:.-–—()[]{}!?…、。「」\"'“”#%ab7料👍\u0301\u200d\ufe0f")), max_size=40
)


@given(text=PUNCTUATED)
@settings(max_examples=400, deadline=None)
def test_phrases_are_in_order_apart_and_without_punctuation_around_them(text: str) -> None:
    units = cut(text, "span")
    assert bool(len(units)) == bool(text.strip())
    at = 0
    between = []
    for start, end in units.spans:
        assert at <= start < end <= len(text)
        between.append(text[at:start])
        at = end
    between.append(text[at:])
    assert all(unit == unit.strip() for unit in units.texts)
    assert units.written({}) == (text if len(units) else "")
    assert units.written(dict.fromkeys(range(len(units)))) == ""
    assert all(between[1:-1])  # two phrases never touch
    said = [token for token in words(text).texts if len(token) > 1 or token in "%‰#@&§" or unicodedata.category(token)[0] != "P"]
    if not said:
        return
    # Nothing but punctuation and space is left between, and no phrase begins or ends with it.
    assert [token for gap in between for token in words(gap).texts if token in said] == []
    assert [token for unit in units.texts for token in words(unit).texts if token in said] == said
    for unit in units.texts:
        tokens = words(unit).texts
        assert tokens[0] in said
        assert tokens[-1] in said


@settings(deadline=None)
@given(words_=st.lists(st.sampled_from(["red", "don't", "3.5", "料", "well-known"]), min_size=1, max_size=8), data=st.data())
def test_every_pause_parts_phrases(words_: list[str], data: st.DataObject) -> None:
    pauses = st.sampled_from([" ", ", ", "; ", ": ", " - ", "—", " (", ") ", ". ", "! ", "? ", "\n\n", "、", "。", "「"])
    drawn = [data.draw(pauses) for _ in words_[1:]]
    expected = [words_[0]]
    for pause, word in zip(drawn, words_[1:], strict=True):
        expected[-1:] = [f"{expected[-1]} {word}"] if pause == " " else [expected[-1], word]
    text = words_[0] + "".join(pause + word for pause, word in zip(drawn, words_[1:], strict=True))
    assert list(cut(text, "span").texts) == expected


@pytest.mark.parametrize(
    ("text", "out", "left"),
    [
        ("It was cold, but lovely, really.", {0}, "but lovely, really."),
        ("It was cold, but lovely, really.", {1}, "It was cold, really."),
        ("It was cold, but lovely, really.", {2}, "It was cold, but lovely."),
    ],
)
def test_a_phrase_is_left_out_with_one_of_its_commas(text: str, out: set[int], left: str) -> None:
    assert cut(text, "span").written(dict.fromkeys(out)) == left


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


class Counted(Sequence[str]):
    """Units to draw from that say how many of them were looked at."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self.seen = texts, 0

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, at: Any) -> Any:
        self.seen += 1
        return self.texts[at]


def test_replacing_looks_at_few_of_many_units() -> None:
    others = Counted([f"word{number}" for number in range(100_000)])
    for unit in range(4):
        assert OPERATORS.get("replace")(words("Great food , really"), unit, others, np.random.default_rng(unit)) in others.texts
    assert others.seen < 40


def test_what_replaces_is_as_likely_as_it_is_frequent() -> None:
    units, replace = words("great"), OPERATORS.get("replace")
    rng = np.random.default_rng(0)
    drawn = Counter(replace(units, 0, ["tea", "Great", "soup", "tea", "great", "tea"], rng) for _ in range(4000))
    # Of 4000 draws; five standard errors.
    assert drawn.keys() == {"tea", "soup"}
    assert drawn["tea"] == pytest.approx(3000, abs=140)
    # One different unit among very many that are the same is found, too.
    assert replace(units, 0, [*["GREAT"] * 5000, "soup"], rng) == "soup"
    with pytest.raises(ExplicateError, match="no other unit"):
        replace(units, 0, [], rng)


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
    with pytest.raises(ExplicateError, match="sentence, spaced, span, word"):
        cut("text", "letter")
