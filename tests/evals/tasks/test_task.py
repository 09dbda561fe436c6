"""Tasks read from TOML files: what is wrong is named by file, line and key; the built-in tasks are as they are said to be."""

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from agents.self_explanations import ask
from analyzers.errors import ExplicateError
from analyzers.units import cut
from evals.tasks import Demonstration, Item, Task, built_in, load_task, units_of

ITEMS = '{"text": "It was cold, but lovely.", "label": 1}\n{"text": "Cold.", "label": 0}\n'
GOOD = """# A task
instruction = \"\"\"
Is the review
labels = positive?
\"\"\"
labels = ["positive", "negative"]
items = "data/i.jsonl"
unit = "span"
gold_names = {"1" = "positive", "0" = "Negative"}

[[demonstrations]]
text = "Awful."
answer = "NEGATIVE"

[[demonstrations]]
text = "Nice."
answer = "positive"
"""


def put(folder: Path, text: str) -> str:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "i.jsonl").write_text(ITEMS)
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def wrong(folder: Path, text: str) -> str:
    with pytest.raises(ExplicateError) as caught:
        load_task(put(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    assert "mine.toml'" in message
    return message


def test_a_task_with_its_items(tmp_path: Path) -> None:
    task, items = load_task(put(tmp_path, GOOD))
    assert task == Task(
        name="mine",
        instruction="Is the review\nlabels = positive?",
        labels=("positive", "negative"),
        unit="span",
        demonstrations=(Demonstration(text="Awful.", answer="negative"), Demonstration(text="Nice.", answer="positive")),
    )
    assert type(task) is Task
    assert items.items == (Item(0, "It was cold, but lovely.", "positive"), Item(1, "Cold.", "negative"))
    assert items.source == "data/i.jsonl"
    assert units_of(items[0], task).texts == ("It was cold", "but lovely")


def test_a_file_with_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    plain, _ = load_task(put(tmp_path, GOOD))
    marked, _ = load_task(put(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n")))
    assert marked == plain


def test_other_items_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, GOOD)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "o.txt").write_text("Fine.\n")
    monkeypatch.chdir(tmp_path / "other")
    _, items = load_task("../mine.toml", items="o.txt")
    assert [item.text for item in items] == ["Fine."]
    _, items = load_task("sentiment", items="o.txt")
    assert [item.gold for item in items] == [None]
    with pytest.raises(ExplicateError, match=r"there is no file 'i\.jsonl'"):
        load_task("../mine.toml", items="i.jsonl")


LABELS = 'labels = ["positive", "negative"]\n'
HEAD = 'instruction = "Which?"\n'
TAIL = 'items = "data/i.jsonl"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["is empty"]),
        ("# nothing\n", ["is empty"]),
        (HEAD + "labels = [\n", ["is not TOML", "at end of document"]),
        (HEAD + "labels = positive\n", ["is not TOML", "line 2"]),
        (HEAD + TAIL, ["a task without labels needs free = true", 'labels = ["positive", "negative"]']),
        (HEAD + "labels = []\n" + TAIL, ["a task without labels needs free = true"]),
        (HEAD + "free = false\n" + TAIL, ["line 2: free", "a task without labels needs free = true"]),
        (HEAD + LABELS + "free = true\n" + TAIL, ["line 3: free", "not both"]),
        (HEAD + 'labels = ["one"]\n' + TAIL, ["line 2: labels", "at least 2 labels"]),
        (HEAD + 'labels = ["One", "two", "one "]\n' + TAIL, ["line 2: labels", "two labels are the same"]),
        (HEAD + 'labels = [\n  "one",\n  " "]\n' + TAIL, ["line 2: labels", "it is empty"]),
        (HEAD + 'labels = "positive"\n' + TAIL, ["line 2: labels", "'positive'", "write labels = ["]),
        (HEAD + "labels = [1, 0]\n" + TAIL, ["line 2: labels.0", "'1'"]),
        (LABELS + TAIL, ["instruction: the key is missing", "write instruction = "]),
        (LABELS + TAIL + 'instruction = " "\n', ["line 3: instruction: it is empty"]),
        (LABELS + "instruction = 3\n" + TAIL, ["line 2: instruction: '3'"]),
        (
            HEAD + "\n# here\nlables = []\n" + TAIL,
            ["line 4: unknown key 'lables'; did you mean 'labels'?", "the keys are instruction, labels"],
        ),
        (HEAD + LABELS + TAIL + 'context = "x"\n', ["line 4: unknown key 'context'"]),
        (HEAD + LABELS + TAIL + 'name = "x"\n', ["line 4: unknown key 'name'"]),
        (HEAD + LABELS + TAIL + "[task]\nunit = 3\n", ["line 4: unknown key 'task'"]),
        (
            HEAD + LABELS + TAIL + 'unit = "wrod"\n',
            ["line 4: unit: 'wrod'", "did you mean 'word'?", "word, spaced, sentence, span, demonstration"],
        ),
        (HEAD + LABELS + TAIL + 'free = "yes"\n', ["line 4: free: 'yes'"]),
        (HEAD + LABELS + TAIL + "text = 3\n", ["line 4: text: '3'"]),
        (HEAD + LABELS, ["does not say where the items are", "hf:<dataset>"]),
        (HEAD + LABELS + "items = 3\n", ["line 3: items: '3'"]),
        (HEAD + LABELS + TAIL + 'unit = "demonstration"\n', ["demonstrations", "there are none"]),
        (
            HEAD + LABELS + TAIL + 'demonstrations = [{text = "a", answer = "good"}]\n',
            ["line 4: demonstrations", "'good' is none of the labels"],
        ),
        (HEAD + LABELS + TAIL + 'demonstrations = [{text = "a"}]\n', ["line 4: demonstrations.0.answer: the key is missing"]),
        (HEAD + LABELS + TAIL + 'demonstrations = ["a"]\n', ["line 4: demonstrations.0"]),
        (GOOD + 'lable = "x"\n', ["line 18: unknown key 'demonstrations.1.lable'", "the keys are text, answer"]),
        (GOOD + '[[demonstrations]]\ntext = "c"\nanswer = ""\n', ["line 20: demonstrations.2.answer: it is empty"]),
        (GOOD.replace("Nice.", "Cold."), ["'Cold.' is a demonstration and an item"]),
        (HEAD + LABELS + TAIL + 'gold_names = {"1" = "good"}\n', ["line 4: gold_names", "'good' is none of the labels positive, negative"]),
        (HEAD + LABELS + TAIL + 'gold_names = {"1" = 1}\n', ["line 4: gold_names.1"]),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(tmp_path: Path, text: str, said: list[str]) -> None:
    message = wrong(tmp_path, text)
    for each in said:
        assert each in message


def test_gold_that_is_no_label_names_the_line_of_the_items(tmp_path: Path) -> None:
    with pytest.raises(
        ExplicateError, match=r"i\.jsonl' line 1 has 1 in the field 'label', which is none of the labels positive, negative"
    ):
        load_task(put(tmp_path, HEAD + LABELS + TAIL))


def test_unknown_tasks_and_missing_items_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match=r"no task 'sentimnet'; did you mean 'sentiment'\?; give one of sentiment, topic, or the path"):
        load_task("sentimnet")
    with pytest.raises(ExplicateError, match="there is no task"):
        load_task(str(tmp_path))
    with pytest.raises(ExplicateError, match=r"there is no file '.*nowhere\.jsonl'"):
        load_task(put(tmp_path, HEAD + LABELS + 'items = "nowhere.jsonl"\n'))


def test_a_free_task(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "Capital of France?", "answer": "Paris"}\n')
    task, items = load_task(put(tmp_path, HEAD + 'free = true\nitems = "q.jsonl"\n'))
    assert (task.free, task.labels) == (True, ())
    assert items.items == (Item(0, "Capital of France?", "Paris"),)


@pytest.mark.parametrize(
    ("unit", "called"),
    [("word", "word"), ("spaced", "word"), ("span", "phrase"), ("sentence", "sentence"), ("demonstration", "demonstration")],
)
def test_what_a_model_is_asked_names_units_as_it_knows_them(unit: str, called: str) -> None:
    shown = (Demonstration(text="Awful.", answer="NEGATIVE "), Demonstration(text="Nice.", answer="positive"))
    task = Task.model_validate(
        {
            "name": "mine",
            "instruction": " Is it? ",
            "labels": [" positive", "very  negative", "negative"],
            "unit": unit,
            "demonstrations": shown,
        }
    )
    asking = task.asking("human")
    assert asking.unit == called
    assert asking.instruction == "Is it?"
    assert asking.labels == ("positive", "very negative", "negative")
    assert asking.demonstrations == (("Awful.", "negative"), ("Nice.", "positive"))
    assert (asking.persona, task.asking("").persona) == ("human", "")


def test_every_built_in_task_can_be_asked() -> None:
    for name in built_in():
        task, items = load_task(name)
        asked = ask(task.asking(""), items.items[0].text, None)
        assert asked.labels == task.labels
        content = asked.messages[-1].content
        assert content.startswith(task.instruction)
        assert content.endswith(f"\nText: {items.items[0].text}")
        assert all(each.text in content for each in task.demonstrations)


def test_the_digest_is_of_all_that_is_asked(tmp_path: Path) -> None:
    task, _ = load_task(put(tmp_path, GOOD))
    assert task.model_copy(update={"name": "other"}).digest == task.digest
    changes: list[dict[str, object]] = [
        {"instruction": "Other?"},
        {"labels": ("negative", "positive")},
        {"labels": (), "free": True},
        {"unit": "word"},
        {"demonstrations": ()},
        {"demonstrations": task.demonstrations[::-1]},
    ]
    assert len({task.digest, *(task.model_copy(update=change).digest for change in changes)}) == 1 + len(changes)


def test_a_task_made_in_code_is_held_to_the_same() -> None:
    for bad in (
        {},
        {"labels": ("a",)},
        {"labels": ("a", "A")},
        {"free": True, "labels": ("a", "b")},
        {"free": True, "unit": "demonstration"},
    ):
        with pytest.raises(ValidationError):
            Task.model_validate({"name": "x", "instruction": "Which?"} | bad)


def test_units() -> None:
    shown = (Demonstration(text="One, two.", answer="b"), Demonstration(text="料理", answer="a"))
    task = Task(name="x", instruction="Which?", labels=("a", "b"), demonstrations=shown)
    text = "It was cold, but lovely. Yes"
    item = Item(0, text, None, ((7, 11), (17, 23)))
    for unit in ("word", "spaced", "sentence"):
        assert units_of(item, task.model_copy(update={"unit": unit})) == cut(text, unit)
    assert units_of(item, task.model_copy(update={"unit": "span"})).texts == ("cold", "lovely")
    assert units_of(Item(0, text, None), task.model_copy(update={"unit": "span"})).texts == ("It was cold", "but lovely", "Yes")
    found = units_of(item, task.model_copy(update={"unit": "demonstration"}))
    assert found.texts == ("One, two.", "料理")
    assert found.written({0: None}) == "料理"


@pytest.mark.parametrize(("name", "least", "share"), [("sentiment", 72, 2), ("topic", 32, 4)])
def test_built_in_tasks(name: str, least: int, share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task, items = load_task(name)
    assert name in built_in()
    assert (task.name, task.unit, task.free) == (name, "word", False)
    assert len(items) >= least
    assert (items.duplicates, items.contradicted) == (0, 0)
    assert Counter(item.gold for item in items) == dict.fromkeys(task.labels, len(items) // share)
    for item in items:
        assert 8 <= len(item.text.split()) <= 30
        assert item.text.strip() == item.text
        assert not {label.casefold() for label in task.labels} & set(cut(item.text.casefold(), "word").texts)
    # The order says nothing of the answer.
    golds = [item.gold for item in items]
    assert max(sum(gold == label for gold in golds[: len(golds) // 2]) for label in task.labels) < 0.7 * len(golds) / share
