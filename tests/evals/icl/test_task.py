"""In-context tasks from files of every kind, and what is told of a file that is none."""

from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from evals.icl.task import built_in, load_icl_task

TASK = 'template = "Q: {text}\\nA: {label}\\n"\nlabels = ["yes", "no"]\nitems = "items.jsonl"\n'


def test_the_built_in_tasks_load_or_say_that_they_need_items() -> None:
    assert built_in() == ("sentiment", "sst2", "topic", "trec")
    for name, labels, count in (("sentiment", 2, 76), ("topic", 4, 32)):
        task = load_icl_task(name)
        assert (len(task.labels), len(task.items), task.left_out) == (labels, count, 0)
        assert {item.label for item in task.items} == set(range(labels))
    for name in ("trec", "sst2"):
        file, line = {"trec": ("TREC.train", "DESC Some text"), "sst2": ("stsa.binary.train", "0 Some text")}[name]
        told = rf"{name!r} comes without items; give --items {file}, a text file with a label and a text in each line \('{line}'\)"
        with pytest.raises(ExplicateError, match=told):
            load_icl_task(name)


@pytest.mark.parametrize(
    "lines",
    [
        "5 How far is it ?\n3 Who was Galileo ?\n\n",
        "NUM:dist How far is it ?\nHUM:desc Who was Galileo ?\n",
        "number How far is it ?\nPerson Who was Galileo ?",
    ],
)
def test_lines_of_a_label_and_a_text(lines: str, tmp_path: Path) -> None:
    (tmp_path / "TREC.train.all").write_text(lines, "utf-8")
    task = load_icl_task("trec", items=str(tmp_path / "TREC.train.all"))
    assert [(item.text, task.labels[item.label]) for item in task.items] == [("How far is it ?", "Number"), ("Who was Galileo ?", "Person")]


def test_json_lines_and_texts_with_several_labels(tmp_path: Path) -> None:
    rows = '{"text": "a b", "label": 1}\n{"text": "c", "label": 0}\n{"text": "d", "label": 1}\n{"text": "d", "label": 0}\n{"text": "e"}\n'
    (tmp_path / "items.jsonl").write_text(rows, "utf-8")
    task = load_icl_task("sst2", items=str(tmp_path / "items.jsonl"))
    assert [(item.number, item.text, task.labels[item.label]) for item in task.items] == [(0, "a b", "Positive"), (1, "c", "Negative")]
    assert task.left_out == 2


def test_texts_that_differ_in_the_spaces_around_them_are_one(tmp_path: Path) -> None:
    rows = '{"text": "a b", "label": 1}\n{"text": " a b\\n", "label": 1}\n{"text": "c", "label": 0}\n{"text": "c ", "label": 1}\n'
    (tmp_path / "items.jsonl").write_text(rows, "utf-8")
    task = load_icl_task("sst2", items=str(tmp_path / "items.jsonl"))
    assert [(item.text, task.labels[item.label]) for item in task.items] == [("a b", "Positive")]
    assert task.left_out == 1


def test_of_texts_that_are_nearly_the_same_one_is_left(tmp_path: Path) -> None:
    """So that none can be shown while the other is asked about; those of several labels count as texts with several."""
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    rows = [(long, 1), (f"{long} nineteen", 0), (long.upper(), 1), ("c d", 0), ("C  d", 0), ("e", 0), ("E", 1), ("c d e", 1)]
    (tmp_path / "items.all").write_text("".join(f"{label} {text}\n" for text, label in rows), "utf-8")
    told: list[tuple[str, int, int]] = []
    task = load_icl_task("sst2", items=str(tmp_path / "items.all"), report=lambda *each: told.append(each))
    assert [(item.text, item.label) for item in task.items] == [(long, 1), ("c d", 0), ("c d e", 1)]
    assert (task.left_out, task.near_duplicates) == (1, 1)
    assert told[-1] == ("compare texts", 4, 4)


def test_a_task_of_ones_own_with_items_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TASK, "utf-8")
    (tmp_path / "items.jsonl").write_text('{"text": "is it?", "gold": "yes"}\n{"text": "or not?", "gold": "No"}\n', "utf-8")
    task = load_icl_task(str(tmp_path / "mine.toml"))
    assert (task.name, task.template, [item.label for item in task.items]) == ("mine", "Q: {text}\nA: {label}\n", [0, 1])
    (tmp_path / "other.txt").write_text("no so it is\n", "utf-8")
    other = load_icl_task(str(tmp_path / "mine.toml"), items=str(tmp_path / "other.txt"))
    assert [(item.text, item.label) for item in other.items] == [("so it is", 1)]
    assert other.digest != task.digest


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("template = ", "is not TOML"),
        (TASK.replace("labels", "label"), "line 2: unknown key 'label'"),
        ('labels = ["yes", "no"]\n', "template"),
        (TASK.replace('["yes", "no"]', '"yes"'), "line 2: labels"),
        (TASK.replace('"no"', '"Yes"'), "line 2: two labels are the same"),
        (TASK + 'gold_names = {"1" = "maybe"}\n', "line 4: 'maybe' is none of the labels yes, no"),
        (TASK.replace("items.jsonl", "nowhere.jsonl"), "there is no file"),
        (TASK.replace("items.jsonl", "nowhere.all"), "there is no file"),
        (TASK.replace("items.jsonl", "bad.all"), r"line 2 begins with 'maybe'; .*one of yes, no"),
        (TASK.replace("items.jsonl", "short.all"), "line 1 begins with 'yes'"),
        (TASK.replace("items.jsonl", "unknown.jsonl"), r"no field for the true answer: it has 'text' \(str\); call it one of gold, label"),
        (TASK.replace("items.jsonl", "empty.jsonl"), "has 1 text, none of them with one true label, .* one of the labels yes, no"),
        (TASK.replace("items.jsonl", "stars.csv"), r"it has 'review' \(str\), 'stars' \(str\); .*a TOML file of your own: gold = "),
        (TASK.replace("template = ", "instruction = "), r"has 'instruction', so it is a task that is asked as a question .*template = "),
    ],
)
def test_what_is_wrong_with_a_task_is_told_in_one_line(written: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(written, "utf-8")
    (tmp_path / "bad.all").write_text("yes so\nmaybe not\n", "utf-8")
    (tmp_path / "short.all").write_text("yes\n", "utf-8")
    (tmp_path / "unknown.jsonl").write_text('{"text": "x"}\n', "utf-8")
    (tmp_path / "empty.jsonl").write_text('{"text": "x", "label": null}\n', "utf-8")
    (tmp_path / "stars.csv").write_text("review,stars\nx,yes\ny,no\n", "utf-8")
    with pytest.raises(ExplicateError, match=told) as error:
        load_icl_task(str(tmp_path / "mine.toml"))
    assert "\n" not in str(error.value)


def test_columns_of_other_names_are_named_in_the_task(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TASK.replace("items.jsonl", "stars.csv") + 'gold = "stars"\n', "utf-8")
    (tmp_path / "stars.csv").write_text("review,stars\nx,yes\ny,no\n", "utf-8")
    assert [(item.text, item.label) for item in load_icl_task(str(tmp_path / "mine.toml")).items] == [("x", 0), ("y", 1)]


def test_a_task_that_is_not_there_names_a_near_one() -> None:
    with pytest.raises(ExplicateError, match=r"'sentimnt'; did you mean 'sentiment'\?"):
        load_icl_task("sentimnt")
