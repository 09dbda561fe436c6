"""What trains and what tests: labels of words, splits without leaks, draws."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from analyzers.errors import CorpusError, ExplicateError
from analyzers.sentence_tasks import SENTENCE_TASKS
from analyzers.treebank import read_treebank
from evals.probes.labels_config import LabelsConfig
from evals.probes.labels_data import SAMPLE, load_material

BUILT_IN = LabelsConfig("m")
SENTENCES = read_treebank(SAMPLE)


def half(path: Path, which: int) -> Path:
    """Every other sentence of the sample."""
    blocks = SAMPLE.read_text("utf-8").strip().split("\n\n")
    path.write_text("\n\n".join(blocks[which::2]) + "\n\n", "utf-8")
    return path


def test_the_sample_is_correct_where_a_machine_can_tell() -> None:
    assert len(SENTENCES) == 60
    assert len({sentence.document for sentence in SENTENCES}) == 12
    expected = {"det": "DET", "amod": "ADJ", "cc": "CCONJ", "punct": "PUNCT", "nummod": "NUM", "cop": "AUX", "aux": "AUX", "case": "ADP"}
    for sentence in SENTENCES:
        for word in sentence.words:
            assert word.lemma
            assert word.xpos
            assert word.upos == expected.get(word.deprel, word.upos), (sentence.text, word.form)
            assert word.head == 0 or sentence.words[word.head - 1].upos != "PUNCT"
            apart = sentence.text[slice(*word.span)] != word.form
            assert not apart or sentence.text[slice(*word.span)] == "don't"


def test_words_get_the_labels_of_their_column() -> None:
    found = load_material(BUILT_IN)
    by_text = {sentence.text: sentence for sentence in SENTENCES}
    for item in found.texts:
        for span, label, kind in zip(item.spans, item.labels, item.types, strict=True):
            (word,) = [word for word in by_text[item.text].words if word.span == span]
            assert (label, kind) == (word.upos, word.form.casefold())
    assert found.task == "pos"
    assert found.unlabelled == 2
    assert sum(len(item.spans) for item in found.texts) == sum(len(sentence.words) for sentence in SENTENCES) - 2


def test_relations_lose_what_a_language_adds_and_features_are_of_words_that_have_them() -> None:
    labels = {label for item in load_material(replace(BUILT_IN, task="deprel")).texts for label in item.labels}
    assert "nsubj" in labels
    assert not any(":" in label for label in labels)
    number = load_material(replace(BUILT_IN, task="Number"))
    assert {label for item in number.texts for label in item.labels} == {"Sing", "Plur"}
    without = sum("Number" not in word.feats for sentence in SENTENCES for word in sentence.words)
    assert number.unlabelled + sum(len(item.spans) for item in number.texts) == sum(len(sentence.words) for sentence in SENTENCES)
    assert number.unlabelled <= without + 2


def test_no_document_of_a_single_file_is_on_both_sides() -> None:
    found = load_material(BUILT_IN)
    trained, tested = ({item.document for item in items} for items in ((*found.train, *found.held_out), found.test))
    assert not trained & tested
    assert len(tested) == round(0.2 * 12)
    assert len(found.held_out) == round(0.1 * (len(found.train) + len(found.held_out)))
    assert "2 of 12 documents test, drawn by the seed" in found.notes
    assert any("the sample that is built in is small" in note for note in found.notes)
    other = load_material(replace(BUILT_IN, seed=1))
    assert {item.text for item in other.test} != {item.text for item in found.test}
    assert load_material(BUILT_IN) == found


def test_a_file_of_few_documents_is_split_by_sentences(tmp_path: Path) -> None:
    lines = [line for line in SAMPLE.read_text("utf-8").splitlines() if not line.startswith("# newdoc")]
    path = tmp_path / "one.conllu"
    path.write_text("\n".join(lines) + "\n\n", "utf-8")
    found = load_material(replace(BUILT_IN, conllu=(path,), test_share=0.5))
    assert len(found.test) == 30
    assert "30 of 60 texts test, drawn by the seed" in found.notes
    assert not any("built in" in note for note in found.notes)


def test_of_two_files_the_first_trains_and_what_tests_is_not_trained_on(tmp_path: Path) -> None:
    first, second = half(tmp_path / "a.conllu", 0), half(tmp_path / "b.conllu", 1)
    repeated = second.read_text("utf-8").split("\n\n")[3]
    first.write_text(first.read_text("utf-8") + repeated + "\n\n", "utf-8")
    found = load_material(replace(BUILT_IN, conllu=(first, second)))
    assert {item.text for item in found.test} == {sentence.text for sentence in SENTENCES[1::2]}
    assert {item.text for item in (*found.train, *found.held_out)} == {sentence.text for sentence in SENTENCES[::2]}
    assert found.repeated == 1
    assert list(found.source) == ["a.conllu", "b.conllu"]
    limited = load_material(replace(BUILT_IN, conllu=(first, second), limit=10))
    assert (len(limited.train), len(limited.held_out), len(limited.test)) == (9, 1, 10)
    assert "10 of 31 texts train, drawn by the seed (--limit)" in limited.notes


@pytest.mark.parametrize("task", SENTENCE_TASKS)
def test_sentence_tasks_are_made_of_each_side_by_itself(task: str, tmp_path: Path) -> None:
    config = replace(BUILT_IN, task=task, conllu=(half(tmp_path / "a.conllu", 0), half(tmp_path / "b.conllu", 1)))
    if task in ("coordination-inversion", "object-number"):
        with pytest.raises(CorpusError, match=f"too few sentences for {task}"):
            load_material(config)
        return
    found = load_material(config)
    assert found.of_sentences
    counts = Counter(label for item in found.test for label in item.labels)
    assert len(set(counts.values())) == 1
    assert set(counts) == {label for item in (*found.train, *found.held_out) for label in item.labels}


def test_a_draw_of_sentences_has_labels_in_the_shares_of_all(tmp_path: Path) -> None:
    path = tmp_path / "tens.jsonl"
    texts = [(f"text number {number} of them", "ab"[number % 10 < 3]) for number in range(200)]
    path.write_text(
        "".join(json.dumps({"text": text, "spans": [[0, len(text)]], "labels": [label]}) + "\n" for text, label in texts), "utf-8"
    )
    found = load_material(replace(BUILT_IN, items=path, limit=20, test_share=0.5))
    for items in ((*found.train, *found.held_out), found.test):
        assert abs(Counter(label for item in items for label in item.labels)["b"] - 6) <= 2
    balanced = load_material(replace(BUILT_IN, task="bigram-shift", limit=10))
    assert Counter(label for item in balanced.test for label in item.labels) == {"original": 5, "shifted": 5}


def test_senteval_s_own_parts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "odd.tsv"
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    lines = [f"{part}\t{'AB'[at % 2]}\t{word} {part}" for part in ("te", "tr", "va") for at, word in enumerate(words)]
    path.write_text("\n".join(lines), "utf-8")
    found = load_material(replace(BUILT_IN, items=path))
    assert found.task == "odd"
    for part, items in (("tr", found.train), ("va", found.held_out), ("te", found.test)):
        assert len(items) == 8
        assert all(item.text.endswith(part) for item in items)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task": "no-such"}, r"no task is called 'no-such'; choose pos, xpos, deprel, .*sentence-length.*Number"),
        ({"conllu": (Path("none.conllu"),)}, "there is no file 'none.conllu'"),
        ({"limit": 2}, "2 texts to train on are too few"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, object], told: str) -> None:
    with pytest.raises(ExplicateError, match=told):
        load_material(replace(BUILT_IN, **change))  # type: ignore[arg-type]


def test_one_label_cannot_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text("".join(f'{{"text": "text {number}", "spans": [[0, 4]], "labels": ["a"]}}\n' for number in range(20)), "utf-8")
    with pytest.raises(ExplicateError, match="all labels to train on are 'a', so that nothing can be told apart"):
        load_material(replace(BUILT_IN, items=path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"probe": "svm"}, "--probe 'svm': choose logistic, mlp, both"),
        ({"pool": "max"}, "--pool 'max': choose mean"),
        ({"conllu": (Path("a"),), "items": Path("b")}, "give one of them"),
        ({"conllu": (Path("a"), Path("b"), Path("c"))}, "--conllu names 3 files"),
        ({"conllu": (Path("a"), Path("a"))}, "--conllu names 'a' twice"),
        ({"test_share": 1.0}, "--test-share 1.0"),
        ({"limit": -1}, "--limit -1"),
    ],
)
def test_options_that_will_not_do(change: dict[str, object], told: str) -> None:
    with pytest.raises(ExplicateError, match=told):
        replace(BUILT_IN, **change).check()  # type: ignore[arg-type]
