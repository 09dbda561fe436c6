"""Files of statements: what they may be, what is told of those that are not, and pairs with negations."""

import json
from pathlib import Path

import numpy as np
import pytest

from analyzers.errors import ExplicateError
from evals.probes.truth_pairs import affirmed, negations
from evals.probes.truth_topics import Statement, Topic, apart, drawn, in_proportion, read_topics, samples, without_period


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def topic(name: str, *rows: tuple[str, bool]) -> Topic:
    return Topic(name, tuple(Statement(text, true) for text, true in rows), 0, "")


def test_the_samples_are_balanced_and_each_statement_stands_once() -> None:
    found = read_topics(samples())
    assert [each.name for each in found] == ["animals", "arithmetic", "capitals", "colours"]
    for each in found:
        assert (len(each), each.left_out, sum(one.true for one in each.statements)) == (60, 0, 30)
        for one in each.statements:
            assert one.negation is not None
            assert without_period(one.text) in [without_period(plain) for plain in affirmed(one.negation)]


def test_a_statement_stands_once_and_one_that_is_both_is_left_out(tmp_path: Path) -> None:
    lines = ["\ufeffstatement,label,x", '"A, b.",1,', "C.,FALSE,", "C,0,", "D.,1,", "D.,0,", "E .,True,"]
    (found,) = read_topics([written(tmp_path, "some_topic.csv", "\n".join(lines) + "\n")])
    assert [(each.text, each.true) for each in found.statements] == [("A, b.", True), ("C.", False), ("E .", True)]
    assert (found.name, found.left_out) == ("some_topic", 3)
    rows = [{"statement": "A", "label": True, "negation": " Not A "}, {"statement": "B", "label": 0}]
    (other,) = read_topics([written(tmp_path, "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))])
    assert other.statements == (Statement("A", True, "Not A"), Statement("B", False))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("text,label\nA,1\n", "has no column 'statement' but 'text', 'label'"),
        ("statement,truth\nA,1\n", "has no column 'label'"),
        ("statement,label\nA,1\nB,0\nC,maybe\n", r"line 4 has the label 'maybe'; write 1 or true"),
        ("statement,label\nA,1\n B,\n", r"line 3 has the label ''"),
        ("statement,label\nA,1\n .,0\n", r"line 3 has ' .' as its statement"),
        ("statement,label\nA,1\nB,1\n", "has 2 true statements and 0 false ones"),
        ("statement,label\nA,1\nB, C,0\n", "line 3 has 3 columns"),
        ("statement,label\n", "has no statement"),
        ('statement,label\n"A,1\n', "is not CSV"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ExplicateError, match=told) as error:
        read_topics([written(tmp_path, "t.csv", text)])
    assert "\n" not in str(error.value)


def test_files_are_named_once_and_topics_have_names_of_their_own(tmp_path: Path) -> None:
    text = "statement,label\nA,1\nB,0\n"
    path = written(tmp_path, "t.csv", text)
    with pytest.raises(ExplicateError, match=r"--csv names .* 2 times"):
        read_topics([path, path])
    with pytest.raises(ExplicateError, match="--also: two files are called 't'"):
        read_topics([path, written(tmp_path, "t.tsv", text.replace(",", "\t"))], option="--also")
    with pytest.raises(ExplicateError, match=r"there is no file 'none\.csv'"):
        read_topics(["none.csv"])
    one = written(tmp_path, "one.csv", "statement,label\nA,1\n")
    assert len(read_topics([one], one_class=True)[0]) == 1


def test_what_is_tested_was_not_trained_on() -> None:
    first, second = topic("a", ("One.", True), ("Two.", False)), topic("b", ("one", True), ("Three.", True))
    kept, lost = apart([first, second])
    assert ([len(each) for each in kept], lost) == ([2, 1], 1)
    kept, lost = apart([second], [first])
    assert ([each.text for each in kept[0].statements], lost) == (["Three."], 1)


def test_a_limit_is_drawn_in_proportion() -> None:
    one = topic("a", *((f"a{number}", number < 60) for number in range(80)))
    other = topic("b", *((f"b{number}", number % 2 == 0) for number in range(40)))
    found = drawn([one, other], 30, 0)
    assert [len(each) for each in found] == [20, 10]
    assert [sum(each.true for each in one.statements) for one in found] == [15, 5]
    assert [each.text for each in found[0].statements] == sorted(
        (each.text for each in found[0].statements), key=lambda text: int(text[1:])
    )
    assert drawn([one, other], 30, 0) == found
    assert drawn([one, other], 30, 1) != found
    assert drawn([one, other], 1000, 0) == [one, other]
    group = np.random.default_rng(0).integers(5, size=97)
    chosen = in_proportion(group, 31, 0)
    assert len(chosen) == len(set(chosen.tolist())) == 31
    assert np.abs(np.bincount(group[chosen], minlength=5) - np.bincount(group) * 31 / 97).max() < 1


@pytest.mark.parametrize(
    ("negated", "plain"),
    [
        ("Morgan Stanley doesn't have headquarters in China.", "Morgan Stanley has headquarters in China."),
        ("The Earth's atmosphere doesn't protect us.", "The Earth's atmosphere protects us."),
        ("The wind does not carry seeds.", "The wind carries seeds."),
        ("Water doesn\N{RIGHT SINGLE QUOTATION MARK}t wash stones.", "Water washes stones."),
        ("Birds don't have feathers.", "Birds have feathers."),
        ("Edison didn't invent the telephone.", "Edison invented the telephone."),
        ("He did not stop.", "He stopped."),
        ("Paris is not the capital of Peru.", "Paris is the capital of Peru."),
        ("Tides aren't caused by wind.", "Tides are caused by wind."),
        ("Penguins can't fly.", "Penguins can fly."),
        ("Penguins cannot fly.", "Penguins can fly."),
        ("The sun will never set.", "The sun will set."),
    ],
)
def test_a_negation_is_taken_back(negated: str, plain: str) -> None:
    assert plain in affirmed(negated)
    assert affirmed(plain) == []


def test_pairs_have_opposite_labels_and_a_file_s_own_negation_comes_first() -> None:
    plain = Topic(
        "p", (Statement("A dog runs.", True), Statement("A fish has legs.", False), Statement("It is so.", True, "It isn't.")), 0, ""
    )
    other = topic("neg", ("A dog doesn't run.", False), ("A fish doesn't have legs.", False), ("It is not so.", False))
    assert negations([plain], [other]) == ["A dog doesn't run.", None, "It isn't."]


def test_a_statement_loses_one_period() -> None:
    assert [without_period(text) for text in ("A b. ", "A b", "And so on...", "A b .")] == ["A b", "A b", "And so on...", "A b"]
