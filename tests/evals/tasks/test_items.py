"""Items read from every kind of source; what is wrong in one is named by file and line."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from evals.tasks import items as items_module
from evals.tasks.items import Item, Items, Reading, read_items

LABELS = ("positive", "negative")
SENTIMENT = Reading(labels=LABELS)


def rows(path: Path, *found: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def wrong(source: Path | str, reading: Reading = SENTIMENT) -> str:
    with pytest.raises(ExplicateError) as caught:
        read_items(str(source), reading)
    message = str(caught.value)
    assert "\n" not in message
    return message


def pairs(found: Items) -> list[tuple[str, str | None]]:
    return [(item.text, item.gold) for item in found]


def test_json_lines(tmp_path: Path) -> None:
    path = rows(tmp_path / "i.jsonl", {"text": " good ", "label": "Positive", "id": 7}, {"text": "料理👍", "label": None}, {"text": "x"})
    found = read_items("i.jsonl", SENTIMENT, folder=tmp_path)
    assert found.items == (Item(0, " good ", "positive"), Item(1, "料理👍", None), Item(2, "x", None))
    assert (len(found), found[1], list(found[1:]), found.duplicates, found.source) == (3, found.items[1], [*found.items[1:]], 0, "i.jsonl")
    assert read_items(str(path), SENTIMENT).digest == found.digest


def test_text_csv_and_json_lines_of_the_same_items_have_one_digest(tmp_path: Path) -> None:
    texts = ["One, two", "three", "word " * 5000, "one"]
    (tmp_path / "i.txt").write_text("\n".join(texts) + "\r\n\n \n")
    rows(tmp_path / "i.jsonl", *({"sentence": text} for text in texts))
    (tmp_path / "i.csv").write_text("review\n" + "".join(f'"{text}"\n' for text in texts))
    found = [read_items(name, SENTIMENT, folder=tmp_path) for name in ("i.txt", "i.jsonl", "i.csv")]
    assert [pairs(each) for each in found] == [[(text, None) for text in texts]] * 3
    assert len({each.digest for each in found}) == 1
    other = read_items(str(rows(tmp_path / "o.jsonl", {"text": "One, two"})), SENTIMENT)
    assert other.digest != found[0].digest


@pytest.mark.parametrize("gap", ["", "  "])
def test_an_item_without_text_is_named_and_not_skipped(tmp_path: Path, gap: str) -> None:
    (tmp_path / "i.txt").write_text(f"one\ntwo\n{gap}\nfour\n")
    assert "i.txt' line 3 has" in wrong(tmp_path / "i.txt")
    good = {"text": "a", "gold": "positive"}
    for bad in ({"text": gap}, {"text": 7}, {"text": None}, {"gold": "positive"}, {"text": ["a"]}):
        message = wrong(rows(tmp_path / "i.jsonl", good, {**good, "text": "b"}, bad))
        assert "i.jsonl' line 3 has" in message
        assert "in the field 'text'" in message
    (tmp_path / "i.csv").write_text(f"text,gold\na,positive\n{gap},negative\n")
    assert "i.csv' line 3 has" in wrong(tmp_path / "i.csv")


def test_duplicates_are_counted_and_contradictions_have_no_gold(tmp_path: Path) -> None:
    path = rows(
        tmp_path / "i.jsonl",
        {"text": "a", "gold": "positive"},
        {"text": "b", "gold": "negative"},
        {"text": "a", "gold": "POSITIVE"},
        {"text": "a"},
        {"text": "b", "gold": "positive"},
        {"text": "A", "gold": "negative"},
    )
    found = read_items(str(path), SENTIMENT)
    assert found.items == (Item(0, "a", "positive"), Item(1, "b", None), Item(2, "A", "negative"))
    assert (found.duplicates, found.contradicted) == (3, 1)


def test_gold_values(tmp_path: Path) -> None:
    path = rows(tmp_path / "i.jsonl", {"text": "a", "stars": 1}, {"text": "b", "stars": "0"}, {"text": "c", "stars": ""})
    named = Reading(gold="stars", labels=LABELS, gold_names={"1": "positive", "0": "negative"})
    assert pairs(read_items(str(path), named)) == [("a", "positive"), ("b", "negative"), ("c", None)]
    message = wrong(path, Reading(gold="stars", labels=LABELS))
    assert "line 1 has 1 in the field 'stars', which is none of the labels positive, negative" in message
    assert 'gold_names = {"1" = "positive"}' in message
    free = read_items(str(rows(tmp_path / "f.jsonl", {"question": "q", "answer": " Paris "}, {"question": "r", "answer": True})), Reading())
    assert pairs(free) == [("q", "Paris"), ("r", "True")]
    for bad in (["positive"], {"a": 1}, float("nan")):
        assert "line 1 has" in wrong(rows(tmp_path / "b.jsonl", {"text": "a", "gold": bad}), Reading())


def test_fields_that_are_missing_or_several_are_listed(tmp_path: Path) -> None:
    two = rows(tmp_path / "i.jsonl", {"text": "a", "question": "b", "n": 3})
    message = wrong(two)
    assert "could be the text, 'text' and 'question', among 'text' (str), 'question' (str), 'n' (int)" in message
    assert 'text = "text"' in message
    assert pairs(read_items(str(two), Reading(text="question"))) == [("b", None)]
    assert "could be the gold, 'label' and 'answer'" in wrong(
        rows(tmp_path / "g.jsonl", {"text": "a", "label": "x"}, {"text": "b", "answer": "y"})
    )
    assert "no field for the text: it has 'body' (str)" in wrong(rows(tmp_path / "n.jsonl", {"body": "a"}))
    assert "has no field 'body', which the task names by text = 'body'; it has 'text' (str)" in wrong(
        rows(tmp_path / "m.jsonl", {"text": "a"}), Reading(text="body")
    )
    assert "which the task names by gold = 'stars'" in wrong(tmp_path / "m.jsonl", Reading(gold="stars"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(
        st.text(st.sampled_from('ab,;\t"\n é料'), min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=5, unique=True
    )
)
def test_csv_reads_what_the_csv_module_writes(
    tmp_path_factory: pytest.TempPathFactory, delimiter: str, mark: str, texts: Sequence[str]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "i.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "Text", "label"])
        writer.writerows([number, text, LABELS[number % 2]] for number, text in enumerate(texts))
    assert pairs(read_items(str(path), SENTIMENT)) == [(text, LABELS[number % 2]) for number, text in enumerate(texts)]


def test_bad_csv_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    for text, said in (
        ("good food,positive\nbad food,negative\n", "the first line must name the columns"),
        ("text,gold\n", "is empty"),
        ('text,gold\n"two\nlines",positive\nbad, really,negative\n', "line 4 has 3 columns and line 1, which names them, 2"),
        ("text,gold\nfine\n", "line 2 has 1 columns"),
        ('text,gold\nfine,positive\n"open,positive\nc,negative\n', "line 4 is not CSV"),
        ('text,gold\n"a"b,positive\n', "line 2 is not CSV"),
        ("text,text\na,b\n", "its columns are called 'text', 'text'"),
        ("text,gold\nfine,good\n", "line 2 has 'good' in the field 'gold'"),
        ("", "is empty"),
    ):
        path.write_text(text)
        assert said in wrong(path), text


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b"\n')
    assert "i.jsonl' line 3 is not JSON" in wrong(path)
    path.write_text('{"text": "a"}\n["b"]\n')
    assert "line 2 holds no JSON object but list" in wrong(path)
    path.write_text("[" * 100_000)
    assert "line 1 is not JSON" in wrong(path)
    for suffix in ("jsonl", "txt", "csv"):
        (tmp_path / f"e.{suffix}").write_text("\n \n" if suffix != "csv" else "")
        assert f"e.{suffix}' is empty" in wrong(tmp_path / f"e.{suffix}")
    path.write_bytes(b'{"text": "\xff"}')
    assert "not UTF-8" in wrong(path)
    (tmp_path / "i.docx").write_text("a")
    assert "is no kind of file that items are read from; give one of: a .txt file" in wrong(tmp_path / "i.docx")
    assert "there is no file" in wrong(tmp_path / "nowhere.txt")
    assert "there is no file" in wrong(tmp_path)


def test_too_many_items_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "MOST_ITEMS", 3)
    (tmp_path / "i.txt").write_text("a\nb\nc\n")
    assert len(read_items(str(tmp_path / "i.txt"), SENTIMENT)) == 3
    (tmp_path / "i.txt").write_text("a\nb\nc\nd\n")
    assert "more than 3 items" in wrong(tmp_path / "i.txt")


TEXT = "cold but lovely, but 👍 cold"


@pytest.mark.parametrize(
    ("given_spans", "units"),
    [
        ([[5, 15], [0, 4]], ["cold", "but lovely"]),
        (["lovely", "cold", "👍"], ["cold", "lovely", "👍"]),
        (["but", [21, 22]], ["but", "👍"]),
        ([[0, len(TEXT)]], [TEXT]),
        (None, []),
    ],
)
def test_spans(tmp_path: Path, given_spans: Any, units: list[str]) -> None:
    found = read_items(str(rows(tmp_path / "i.jsonl", {"text": TEXT, "spans": given_spans})), SENTIMENT)
    assert [TEXT[start:end] for start, end in found[0].spans] == units


@pytest.mark.parametrize(
    ("given_spans", "said"),
    [
        ([], "spans must be a list"),
        ("cold", "spans must be a list"),
        ([[0, 5], [4, 8]], "overlap at ' '"),
        (["cold", "cold"], "overlap at 'cold'"),
        ([[0, 10], [2, 3]], "overlap at 'l'"),
        ([[0, len(TEXT) + 1]], "is not in the text"),
        ([[-1, 3]], "is not in the text"),
        ([[3, 3]], "is not in the text"),
        ([[False, True]], "is not in the text"),
        ([[0, 1.5]], "is not in the text"),
        ([[0, 1, 2]], "is not in the text"),
        (["warm"], "'warm' is not in the text"),
        ([""], "is not in the text"),
        ([[4, 5]], "is nothing but space"),
        ([None], "is not in the text"),
    ],
)
def test_bad_spans(tmp_path: Path, given_spans: Any, said: str) -> None:
    message = wrong(rows(tmp_path / "i.jsonl", {"text": "a"}, {"text": TEXT, "spans": given_spans}))
    assert "i.jsonl' line 2: " in message
    assert said in message


@given(text=st.text(min_size=1, max_size=20).filter(str.strip), data=st.data())
@settings(deadline=None)
def test_good_spans_are_kept_in_order(tmp_path_factory: pytest.TempPathFactory, text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=8, unique=True)))
    spans = [(start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=False) if text[start:end].strip()]
    path = rows(tmp_path_factory.mktemp("spans") / "i.jsonl", {"text": text, "spans": data.draw(st.permutations(spans)) or None})
    assert read_items(str(path), SENTIMENT)[0].spans == tuple(spans)


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00 \\ude00 b", "spans": ["\\ude00 b"]}\n')
    (item,) = read_items(str(path), SENTIMENT)
    assert item == Item(0, "😀 ? b", None, ((2, 5),))


def fake_datasets(found: list[dict[str, Any]], asked: list[Any]) -> ModuleType:
    def load_dataset(name: str, config: str | None, *, split: str, streaming: bool) -> Iterator[dict[str, Any]]:
        asked.append((name, config, split, streaming))
        return iter(found)

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.exceptions = SimpleNamespace(DatasetsError=KeyError)  # type: ignore[attr-defined]
    return module


def test_hugging_face_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = [{"sentence": "a", "label": 1, "spans": {"other": 1}}, {"sentence": "b", "label": 0}]
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets(found, asked))
    named = Reading(labels=LABELS, gold_names={"1": "positive", "0": "negative"})
    assert pairs(read_items("hf:owner/set:en:test", named)) == [("a", "positive"), ("b", "negative")]
    assert pairs(read_items("hf:owner/set", named)) == [("a", "positive"), ("b", "negative")]
    assert asked == [("owner/set", "en", "test", True), ("owner/set", None, "train", True)]
    assert "'hf:owner/set' row 0 has 1 in the field 'label'" in wrong("hf:owner/set")
    assert "names a column" in wrong("hf:owner/set:en:test:sentence")
    assert "names no dataset" in wrong("hf:")


def test_without_the_package_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install -e '.[data]'" in wrong("hf:owner/set")
