"""Sentence tasks: the rules on sentences written for them, balance, and changed texts that are still texts."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import evals.probes
from analyzers.errors import CorpusError
from analyzers.sentence_tasks import SENTENCE_TASKS, depth, inverted, sentence_items, shifted
from analyzers.treebank import Sentence, Word, read_treebank

SAMPLE = read_treebank(Path(evals.probes.__file__).parent / "samples" / "sample.conllu")


def sentence(text: str, tags: str, heads: list[int], relations: str, feats: dict[int, dict[str, str]] | None = None) -> Sentence:
    """Of forms with spaces between, written without the space before punctuation; feats by 1-based number."""
    forms, written, words = text.split(), "", []
    for at, (form, tag, head, relation) in enumerate(zip(forms, tags.split(), heads, relations.split(), strict=True)):
        written += "" if at == 0 or tag == "PUNCT" else " "
        words.append(
            Word(form, form.lower(), tag, "", head, relation, (len(written), len(written) + len(form)), (feats or {}).get(at + 1, {}))
        )
        written += form
    return Sentence(f"s{text}", "d", written, tuple(words))


def labels(task: str, some: Sentence) -> tuple[str, str] | None:
    of = SENTENCE_TASKS[task].label
    assert of is not None
    return of(some)


def test_depth_is_the_longest_way_down() -> None:
    chain = sentence("a b c d", "X X X X", [2, 3, 4, 0], "dep dep dep root")
    star = sentence("a b c d", "X X X X", [0, 1, 1, 1], "root dep dep dep")
    assert (depth(chain), depth(star)) == (3, 1)


@given(heads=st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_depth_is_that_of_a_recursion(heads: list[int]) -> None:
    """Every word hangs on an earlier one, so that any numbers give a tree."""
    tree = [0 if at == 0 else 1 + number % at for at, number in enumerate(heads)]
    some = sentence(" ".join("w" for _ in tree), " ".join("X" for _ in tree), tree, " ".join("dep" for _ in tree))

    def below(at: int) -> int:
        return max((1 + below(child) for child, head in enumerate(tree, 1) if head == at), default=0)

    assert depth(some) == below(1)


def test_length_bins_have_four_words_each() -> None:
    found = {}
    for count in range(5, 29):
        some = sentence(" ".join("w" for _ in range(count)), " ".join("X" for _ in range(count)), [0] + [1] * (count - 1), "dep " * count)
        found[count] = labels("sentence-length", some)
    bins = ("05-08", "09-12", "13-16", "17-20", "21-24", "25-28")
    assert Counter(label for label, _ in filter(None, found.values())) == dict.fromkeys(bins, 4)
    assert found[8] == ("05-08", "")
    assert found[9] == ("09-12", "")


def test_tense_is_of_the_finite_verb_of_the_main_clause() -> None:
    past, pres, part = ({"Tense": "Past", "VerbForm": "Fin"}, {"Tense": "Pres", "VerbForm": "Fin"}, {"Tense": "Past", "VerbForm": "Part"})
    plain = sentence("He knows she left", "PRON VERB PRON VERB", [2, 0, 4, 2], "nsubj root nsubj ccomp", {2: pres, 4: past})
    perfect = sentence("He has left", "PRON AUX VERB", [3, 3, 0], "nsubj aux root", {2: pres, 3: part})
    copula = sentence("He was old", "PRON AUX ADJ", [3, 3, 0], "nsubj cop root", {2: past})
    assert labels("tense", plain) == ("Pres", "knows")
    assert labels("tense", perfect) == ("Pres", "has")
    assert labels("tense", copula) == ("Past", "was")
    assert labels("tense", sentence("What a day", "PRON DET NOUN", [3, 3, 0], "det det root")) is None


def test_number_is_of_the_only_noun_in_the_place() -> None:
    plural, single = {"Number": "Plur"}, {"Number": "Sing"}
    some = sentence("Dogs see a cat", "NOUN VERB DET NOUN", [2, 0, 4, 2], "nsubj root det obj", {1: plural, 4: single})
    assert labels("subject-number", some) == ("Plur", "Dogs")
    assert labels("object-number", some) == ("Sing", "cat")
    pronoun = sentence("They see a cat", "PRON VERB DET NOUN", [2, 0, 4, 2], "nsubj root det obj", {1: plural, 4: single})
    assert labels("subject-number", pronoun) is None
    passive = sentence("Dogs were seen", "NOUN AUX VERB", [3, 3, 0], "nsubj:pass aux root", {1: plural})
    assert labels("subject-number", passive) == ("Plur", "Dogs")


@given(seed=st.integers(0, 1000), number=st.integers(0, len(SAMPLE) - 1))
@example(seed=1000, number=18)
def test_a_shift_exchanges_two_neighbours_and_nothing_else(seed: int, number: int) -> None:
    some = SAMPLE[number]
    text = shifted(some, np.random.default_rng(seed))
    assert text is not None
    before, after = some.text.split(), text.split()
    changed = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    assert len(changed) in (2, 1)
    bare = [word.strip(".,?") for word in before]
    turned = [word.strip(".,?") for word in after]
    places = [at for at, (one, other) in enumerate(zip(bare, turned, strict=True)) if one != other]
    assert len(places) == 2
    assert places[0] > 0
    assert places[1] == places[0] + 1
    assert [turned[places[1]], turned[places[0]]] == [bare[places[0]], bare[places[1]]]

    def between(words: str) -> list[str]:
        # An apostrophe is of its word, and goes with it.
        return [char for char in words if not char.isalpha() and char != "'"]

    assert between(text) == between(some.text)


def test_what_has_no_two_words_to_exchange_is_not_shifted() -> None:
    assert shifted(sentence("Go now !", "VERB ADV PUNCT", [0, 1, 1], "root advmod punct"), np.random.default_rng(0)) is None
    assert shifted(sentence("So very very !", "ADV ADV ADV PUNCT", [3, 3, 0, 3], "x x root punct"), np.random.default_rng(0)) is None


CLAUSES = ([2, 0, 6, 6, 6, 2, 2], "nsubj root punct cc nsubj conj punct")


@pytest.mark.parametrize(
    ("text", "tags", "told"),
    [
        ("Rain fell , but cats slept .", "NOUN VERB PUNCT CCONJ NOUN VERB PUNCT", "Cats slept, but rain fell."),
        ("Tom fell , and we slept !", "PROPN VERB PUNCT CCONJ PRON VERB PUNCT", "We slept, and Tom fell!"),
        ("I fell ; or Ann slept .", "PRON VERB PUNCT CCONJ PROPN VERB PUNCT", "Ann slept; or I fell."),
        ("i fell , and we slept .", "PRON VERB PUNCT CCONJ PRON VERB PUNCT", "we slept, and i fell."),
        ("It fell \u201d and we slept .", "PRON VERB PUNCT CCONJ PRON VERB PUNCT", None),
    ],
)
def test_two_main_clauses_are_exchanged_around_their_conjunction(text: str, tags: str, told: str | None) -> None:
    assert inverted(sentence(text, tags, *CLAUSES)) == told


def test_other_coordinations_are_not_inverted() -> None:
    no_subject = sentence(
        "He fell , and soon slept .", "PRON VERB PUNCT CCONJ ADV VERB PUNCT", CLAUSES[0], "nsubj root punct cc advmod conj punct"
    )
    no_conjunction = sentence(
        "He fell , so we slept .", "PRON VERB PUNCT ADV PRON VERB PUNCT", CLAUSES[0], "nsubj root punct advmod nsubj conj punct"
    )
    behind = sentence(
        "He fell and we slept twice .",
        "PRON VERB CCONJ PRON VERB ADV PUNCT",
        [2, 0, 5, 5, 2, 2, 2],
        "nsubj root cc nsubj conj advmod punct",
    )
    assert [inverted(each) for each in (no_subject, no_conjunction, behind)] == [None] * 3


@pytest.mark.parametrize("task", SENTENCE_TASKS)
def test_classes_are_balanced_and_no_sentence_comes_twice(task: str) -> None:
    items = sentence_items(task, SAMPLE, seed=0)
    assert len(set(Counter(item.label for item in items).values())) == 1
    assert len({item.sentence for item in items}) == len(items)
    assert sentence_items(task, SAMPLE, seed=0) == items
    assert sentence_items(task, SAMPLE, seed=1) != items
    originals = {each.id: each.text for each in SAMPLE}
    for item in items:
        assert (item.text != originals[item.sentence]) == (item.label in ("shifted", "inverted"))


def test_rare_classes_are_left_out_and_wanted_ones_are_kept() -> None:
    """Of chains of seven words, the last of which hang on the first: 40 of depth 2, 20 of depth 3, 9 of depth 4."""
    some = []
    for deep, count in ((2, 40), (3, 20), (4, 9)):
        heads = [0, *range(1, deep + 1), *[1] * (6 - deep)]
        some += [replace(sentence("w " * 7, "X " * 7, heads, "dep " * 7), id=f"{deep}/{number}") for number in range(count)]
    assert Counter(item.label for item in sentence_items("tree-depth", some, seed=0)) == {"2": 20, "3": 20}
    assert Counter(item.label for item in sentence_items("tree-depth", some, seed=0, classes=["2", "4"])) == {"2": 9, "4": 9}


def test_too_few_sentences_are_told_with_their_counts() -> None:
    with pytest.raises(CorpusError, match=r"too few sentences for tense .*: Past \d+, Pres \d+ of 4.*give a larger treebank"):
        sentence_items("tense", SAMPLE[:4], seed=0)
    with pytest.raises(CorpusError, match=r"too few sentences for sentence-length .*: none of 0"):
        sentence_items("sentence-length", [], seed=0)
    with pytest.raises(CorpusError, match="no sentence task is called 'rhyme'; choose one of sentence-length"):
        sentence_items("rhyme", SAMPLE, seed=0)
