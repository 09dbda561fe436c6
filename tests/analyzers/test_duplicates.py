"""Duplicates against exact Jaccard indices by brute force."""

import random
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.duplicates import NEAR, Duplicates, overlap, shingles, signature, words

WORDS = [
    "".join(letters) for letters in (random.Random(1).choices(string.ascii_lowercase, k=random.Random(i).randint(2, 9)) for i in range(600))
]
WORDS = [f"{word}{chr(97 + i % 26)}{chr(97 + i // 26)}" for i, word in enumerate(WORDS)]
TEXTS = st.lists(st.sampled_from(["a", "b", "c", "the", "cat", "sat", "on", "mat"]), max_size=30).map(" ".join)


def prose(seed: int, n: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=n)


def edited(text: list[str], edits: int, seed: int) -> list[str]:
    text, rng = list(text), random.Random(seed)
    for at in rng.sample(range(len(text)), edits):
        text[at] = f"other{rng.randrange(10**6)}"
    return text


def jaccard(a: list[str], b: list[str]) -> float:
    sets = [{tuple(text[i : i + 5]) for i in range(len(text) - 4)} for text in (a, b)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def shared_grams(a: str, b: str) -> float:
    """Share of the shorter text's word 5-grams in the other, by the letter."""
    short, long = sorted((a.split(), b.split()), key=len)
    grams = [tuple(short[i : i + 5]) for i in range(len(short) - 4)]
    return sum(any(tuple(long[j : j + 5]) == gram for j in range(len(long))) for gram in grams) / len(grams)


@given(TEXTS, TEXTS)
def test_overlap_is_symmetric_and_a_share(a: str, b: str) -> None:
    assert overlap(a, b) == overlap(b, a)
    assert 0 <= overlap(a, b) <= 1
    assert overlap(a, a) == (1.0 if a else 0.0)


@given(TEXTS.filter(lambda t: len(t.split()) >= 5), TEXTS.filter(lambda t: len(t.split()) >= 5))
def test_overlap_finds_at_least_what_common_grams_find(a: str, b: str) -> None:
    share = shared_grams(a, b)
    assert overlap(a, b) >= share - 1e-12
    assert (overlap(a, b) > 0) == (share > 0 or (len(a.split()) == len(b.split()) and shared_grams(b, a) > 0))


def test_overlap_ignores_case_form_and_punctuation() -> None:
    assert overlap("The ﬁrst “Cat” sat, on the mat.", "the first cat\nSAT on  the mat") == 1


def test_overlap_of_an_excerpt_with_words_exchanged() -> None:
    text = prose(3, 20)
    for first in range(20):
        for second in range(first + 1, 20):
            changed = list(text)
            changed[first] = changed[second] = "elsewhere"
            kept = [first, second - first - 1, 19 - second]
            assert overlap(" ".join(text), " ".join(changed)) == pytest.approx(sum(n for n in kept if n >= 5) / 20)


def test_overlap_of_a_passage_inside_a_longer_text() -> None:
    text = prose(4, 200)
    assert overlap(" ".join(text[50:70]), " ".join(text)) == 1
    assert overlap(" ".join(text[:10] + prose(5, 10)), " ".join(text[:10] + prose(6, 300))) == 0.5
    assert overlap(" ".join(prose(7, 20)), " ".join(prose(8, 20))) == 0


def test_overlap_of_short_and_wordless_texts() -> None:
    assert overlap("red fox", "the red fox ran") == 1
    assert overlap("red fox", "the fox red ran") == 0
    assert overlap("a b c d", "a b c x y z") == 0
    assert overlap("-- == --", "text") == 0
    assert overlap("--==", "- - = = --") == 1
    assert overlap("", "") == 0
    assert overlap("", "text") == 0


def test_scripts_without_spaces_have_a_word_a_character() -> None:
    assert words("猫が好き cat") == ["猫", "が", "好", "き", "cat"]
    assert overlap("私は猫がとても好きです", "昨日私は猫がとても好きでした") > 0.7


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 40))
def test_the_estimate_is_near_the_exact_jaccard(seed: int, edits: int) -> None:
    a = prose(seed, 400)
    b = edited(a, edits, seed + 1)
    exact = jaccard(a, b)
    estimate = np.mean(signature(shingles(" ".join(a))) == signature(shingles(" ".join(b))))
    assert abs(estimate - exact) <= 5 * np.sqrt(max(exact * (1 - exact), 0.01) / 64)


def test_shingles_are_the_distinct_runs_of_five() -> None:
    text = prose(2, 300) * 2
    assert len(shingles(" ".join(text))) == len({tuple(text[i : i + 5]) for i in range(len(text) - 4)})
    assert len(shingles("only three words")) == 1
    assert len(shingles("...")) == 0


def test_near_duplicates_are_found_and_others_kept() -> None:
    found = {"near": 0, "far": 0}
    total = {"near": 0, "far": 0}
    for seed in range(150):
        a = prose(seed, 500)
        b = edited(a, [2, 4, 40, 60][seed % 4], seed)
        exact = jaccard(a, b)
        kind = "near" if exact >= NEAR + 0.1 else "far" if exact <= NEAR - 0.2 else None
        if kind is None:
            continue
        seen = Duplicates()
        assert seen.seen(" ".join(a)) is None
        total[kind] += 1
        found[kind] += seen.seen(" ".join(b)) == "near"
    assert total["near"] > 50
    assert total["far"] > 50
    assert found["near"] / total["near"] >= 0.97
    assert found["far"] / total["far"] <= 0.03


def test_many_documents_against_brute_force() -> None:
    rng = random.Random(9)
    texts = [prose(1000 + i, 300) for i in range(60)]
    for _ in range(60):
        texts.append(edited(rng.choice(texts[:60]), 1, rng.randrange(10**6)))
    rng.shuffle(texts)
    kept: list[list[str]] = []
    seen = Duplicates()
    for text in texts:
        nearest = max((jaccard(text, other) for other in kept), default=0.0)
        assert nearest < 0.5 or nearest > 0.9  # the planted pairs are clear cases
        assert (seen.seen(" ".join(text)) is not None) == (nearest > 0.9)
        if nearest < 0.5:
            kept.append(text)
    assert len(kept) == 60


def test_exact_duplicates_differ_in_case_and_white_space_only() -> None:
    seen = Duplicates()
    assert seen.seen("Ein Haus\n\nam  See") is None
    assert seen.seen("ein haus am see ") == "exact"
    assert seen.seen("ein haus am see!") == "near"
    assert seen.seen("***") is None
    assert seen.seen("* * *") is None
    assert seen.seen("***") == "exact"


def test_documents_that_meet_in_a_band_do_not_hide_each_other() -> None:
    """All texts share most shingles (Jaccard about 0.6), so that bands collide often; the duplicate of each is still found."""
    common = prose(77, 300)
    texts = [common + prose(seed, 200 // 2) for seed in range(200, 230)]
    seen = Duplicates()
    assert [seen.seen(" ".join(text)) for text in texts] == [None] * len(texts)
    assert all(seen.seen(" ".join([*text, "end"])) == "near" for text in texts)
