"""Which sentences are drawn, that none is on both sides, and what becomes of those that a model does not read whole."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from analyzers.errors import ExplicateError
from analyzers.probes.trees import distances_and_depths
from analyzers.treebank import Sentence, Word
from evals.probes.tree_material import FEWEST, draw_material, readable


def sentence(text: str, *, name: str = "", mark: bool = True) -> Sentence:
    """Every word on the one before it, and a full stop, if there is one, on the first word."""
    words, at = [], 0
    forms = text.split() + (["."] if mark else [])
    for number, form in enumerate(forms):
        last = mark and number == len(forms) - 1
        head = (1 if number else 0) if last else number
        words.append(Word(form, form, "PUNCT" if last else "NOUN", "." if last else "NN", head, "dep", (at, at + len(form))))
        at += len(form) + 1
    return Sentence(name or text, "d", " ".join(forms), tuple(words))


def some(count: int, of: str) -> list[Sentence]:
    return [sentence(f"{of}{number} walks to the {of} house number {number}") for number in range(count)]


class FakeStates:
    """Rows of all words but those of some sentences."""

    def __init__(self, sentences: Sequence[Sentence], missing: set[int], partly: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        rows, at = list[int](), 0
        for number, each in enumerate(sentences):
            numbers = list(range(at, at + len(each.words)))
            at += len(numbers)
            rows += [] if number in missing else numbers[1:] if number in partly else numbers
        self.rows = np.array(rows)


def test_it_draws_by_seed_as_many_as_are_wanted() -> None:
    train, test = some(60, "ox"), some(40, "hen")
    one, same, other = (draw_material(train, test, limit=30, tests=20, seed=seed) for seed in (0, 0, 1))
    assert one.sentences == same.sentences != other.sentences
    assert (one.train, len(one.sentences)) == (30, 50)
    assert all(each in train for each in one.sentences[:30])
    assert all(each in test for each in one.sentences[30:])
    assert len({each.id for each in one.sentences}) == 50
    whole = draw_material(train, test, limit=0, tests=0, seed=0)
    assert (whole.train, len(whole.sentences), whole.repeated, whole.short) == (60, 100, 0, 0)


def test_what_is_tested_is_not_trained_on() -> None:
    test = some(20, "hen")
    copies = [sentence(each.text.upper().removesuffix(" ."), name=f"copy {number}") for number, each in enumerate(test[:15])]
    drawn = draw_material([*copies, *some(30, "ox"), *some(30, "ox")], test, limit=0, tests=0, seed=0)
    assert (drawn.train, drawn.repeated) == (30, 45)
    assert not {each.id for each in drawn.sentences} & {each.id for each in copies}


def test_it_tells_how_many_sentences_are_compared() -> None:
    seen: list[tuple[str, int, int]] = []
    draw_material(
        some(20, "ox"), some(15, "hen"), limit=10, tests=10, seed=0, report=lambda what, done, total: seen.append((what, done, total))
    )
    assert seen == [("look for repeated texts", done, 35) for done in range(36)]


def test_sentences_without_two_words_are_left_out() -> None:
    short = [sentence("Yes"), sentence("No", mark=False)]
    drawn = draw_material(some(20, "ox") + short, some(20, "hen") + short, limit=0, tests=0, seed=0)
    assert (drawn.short, len(drawn.sentences)) == (4, 40)


@pytest.mark.parametrize(
    ("train", "test", "which"), [(9, 20, "9 sentences to train"), (20, 9, "9 sentences to test"), (0, 20, "0 sentences")]
)
def test_too_few_are_refused(train: int, test: int, which: str) -> None:
    with pytest.raises(ExplicateError, match=f"{which}.* are too few for a probe; give {FEWEST} or more"):
        draw_material(some(train, "ox"), some(test, "hen"), limit=0, tests=0, seed=0)


def test_sentences_that_are_not_read_whole_are_left_out_and_words_find_their_rows() -> None:
    material = draw_material(some(40, "ox"), some(20, "hen"), limit=0, tests=0, seed=0)
    states = FakeStates(material.sentences, {0, 45}, {7})
    ready = readable(material, cast(Any, states), seed=0)
    kept = [each for number, each in enumerate(material.sentences) if number not in {0, 7, 45}]
    assert ready.sentences == tuple(kept)
    assert ready.unread == 3
    assert len(ready.split.held_out) == 3
    assert sorted([*ready.split.train, *ready.split.held_out]) == list(range(38))
    assert ready.split.test.tolist() == list(range(38, 57))
    starts = np.cumsum([0, *(len(each.words) for each in material.sentences)])
    spans = [
        span
        for number, each in enumerate(material.sentences)
        if number not in {0, 7, 45}
        for span in range(starts[number], starts[number + 1])
    ]
    assert states.rows[ready.rows].tolist() == spans
    for number, each in enumerate(kept):
        assert np.array_equal(ready.forest.distances_of(number), distances_and_depths(each.heads)[0])
        assert ready.forest.keep[ready.forest.words(number)].tolist() == [word.upos != "PUNCT" for word in each.words]


def test_too_few_that_are_read_are_refused() -> None:
    material = draw_material(some(20, "ox"), some(20, "hen"), limit=0, tests=0, seed=0)
    for missing, kind in ((range(15), "train"), (range(20, 35), "test")):
        with pytest.raises(ExplicateError, match=f"reads 5 of the sentences to {kind} on whole"):
            readable(material, cast(Any, FakeStates(material.sentences, set(missing))), seed=0)
