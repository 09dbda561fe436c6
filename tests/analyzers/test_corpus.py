import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analyzers.corpus import Document, csv_rows, documents, source_identity
from analyzers.errors import CorpusError


def read(source: Path | str) -> list[Document]:
    return list(documents(str(source)))


def error(source: Path | str) -> str:
    with pytest.raises(CorpusError) as caught:
        read(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def put(path: Path, *records: Any) -> Path:
    data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json.gz"])
def test_json_lines(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path / f"c{suffix}", {"id": "x", "title": "T", "text": "é\n1"}, {"id": 7, "text": "2", "note": "n"}, {"text": "3"})
    assert read(path) == [Document("x", "T", "é\n1"), Document("7", "7", "2"), Document("3", "3", "3")]


def test_the_only_string_field_is_the_text(tmp_path: Path) -> None:
    path = put(tmp_path / "c.jsonl", {"id": "a", "title": "t", "body": "words", "n": 3})
    assert read(path) == [Document("a", "t", "words")]


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "\\ud800", "text": "\\ud83d\\ude00 \\ude00"}')
    assert read(path) == [Document("?", "?", "😀 ?")]


def test_fields_are_listed_where_none_is_the_text(tmp_path: Path) -> None:
    message = error(put(tmp_path / "c.jsonl", {"text": "fine"}, {"question": "q", "answer": "a"}))
    assert "c.jsonl' line 2" in message
    assert "'question' (str), 'answer' (str)" in message
    assert "'text' (int)" in error(put(tmp_path / "d.jsonl", {"text": 3, "body": "b"}))


def test_bad_json_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b"\n')
    assert "c.jsonl' line 3 is not JSON" in error(path)
    path.write_text('["a"]\n')
    assert "line 1 holds no JSON object but list" in error(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_of_csv_are_those_that_were_written_under_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    written = [{"name": f'the "old", {delimiter} town\nby a river', "x": "1"}, {"name": "b", "x": ""}]
    path = tmp_path / "c.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        file.write("\r\n")
        table = csv.DictWriter(file, ["name", "x"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
        table.writeheader()
        table.writerow(written[0])
        file.write("\r\n")
        table.writerow(written[1])
    assert list(csv_rows(path)) == [(f"{str(path)!r} line 3", written[0]), (f"{str(path)!r} line 6", written[1])]


def test_a_file_with_tabs_has_only_these_and_a_first_column_needs_no_name(tmp_path: Path) -> None:
    tabs = tmp_path / "c.tsv"
    tabs.write_text("name, in a town, of old\tx\na, b\t1\n")
    assert [row for _, row in csv_rows(tabs)] == [{"name, in a town, of old": "a, b", "x": "1"}]
    numbered = tmp_path / "n.csv"
    numbered.write_text(",name\n0,a\n")
    assert [row for _, row in csv_rows(numbered)] == [{"": "0", "name": "a"}]
    numbered.write_text("")
    assert list(csv_rows(numbered)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,\na,b\n", r"its columns are called 'name', ''; give each a name of its own"),
        ("name, name\na,b\n", r"its columns are called 'name', 'name'"),
        ('name,x\n"two\nlines",1\nb\n', r"c\.csv' line 4 has 1 columns and line 1, which names them, 2"),
        ('name,x\n"open,1\nb,2\n', r"c\.csv' line 3 is not CSV"),
        ('"name\n', r"c\.csv' line 1 is not CSV"),
    ],
)
def test_bad_csv_names_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(CorpusError, match=said):
        list(csv_rows(path))


def test_a_folder_holds_a_document_a_file(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_text("zed\n\nzed")
    (tmp_path / "a.md").write_text("# A\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "image.png").write_bytes(b"\0\1")
    put(tmp_path / "c.jsonl", {"id": 1, "text": "one"})
    assert read(tmp_path) == [Document("a.md", "a", "# A\n"), Document("b/z.txt", "z", "zed\n\nzed"), Document("c.jsonl:1", "1", "one")]


def test_unknown_empty_and_unreadable_sources(tmp_path: Path) -> None:
    assert "there is no corpus 'nowhere'; give one of: wikipedia-sample" in error("nowhere")
    assert "holds no file" in error(tmp_path)
    (tmp_path / "e.txt").write_text(" \n")
    assert "is empty" in error(tmp_path / "e.txt")
    assert "is empty" in error(tmp_path)
    (tmp_path / "w.docx").write_text("text")
    assert "no kind of corpus" in error(tmp_path / "w.docx")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "abc"}\n' * 500)[:-10])
    assert "cut.jsonl.gz' cannot be read" in error(tmp_path / "cut.jsonl.gz")
    (tmp_path / "not.jsonl.gz").write_text('{"text": "abc"}\n')
    assert "cannot be read" in error(tmp_path / "not.jsonl.gz")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"good\nb\xe9d\n", "byte 6 "),
        ("é\né".encode() + b"\xff", "byte 5 "),
        (b"abc\0", "byte 3 is zero"),
        ("text".encode("utf-16"), "byte 0 "),
    ],
)
def test_what_is_not_utf8_is_named_by_its_byte(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "c.txt"
    path.write_bytes(data)
    assert said in error(path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_bytes(b"\xef\xbb\xbfword")
    assert read(path)[0].text == "word"


def paragraph(words: int, word: str = "word") -> str:
    return "\n".join(" ".join([word] * min(10, words - i)) for i in range(0, words, 10)) + "\n"


def test_a_lone_text_file_is_cut_into_sections(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    parts = [
        "# One\n" + paragraph(350),  # ends at the heading
        "== Two ==\n" + paragraph(290) + "\n" + paragraph(100) + "\n",  # not at the first blank line, at the second
        paragraph(600),  # no blank line: at the line end
        paragraph(20) + "# Three\n",
    ]
    path.write_text("".join(parts))
    found = read(path)
    assert [section.text for section in found] == parts
    assert [section.title for section in found] == ["One", "Two", "Two", "Two"]
    assert [section.id for section in found] == [f"book.txt#{i}" for i in range(1, 5)]
    assert {section.unit for section in found} == {"section"}


@given(st.lists(st.tuples(st.integers(1, 500), st.sampled_from(["\n", "", "# Head\n", "\n \n\n"])), min_size=1, max_size=12))
@example([(98, "# Head\n"), (500, "\n")])
@example([(320, "\n\n")])
def test_sections_hold_the_whole_text_and_are_long_enough(tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, str]]) -> None:
    path = tmp_path_factory.mktemp("sections") / "c.md"
    path.write_text("".join(paragraph(words) + end for words, end in parts))
    found = read(path)
    assert "".join(section.text for section in found) == path.read_text()
    for section in found[:-1]:
        assert 300 <= len(section.text.split()) < 620


def test_the_sample_is_read_through_the_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "sample.jsonl", {"id": "w1", "title": "Anarchism", "text": "Long."})
    monkeypatch.setitem(sys.modules, "analyzers.assets", SimpleNamespace(corpus_file=lambda name, *, report: path))
    assert read("wikipedia-sample") == [Document("w1", "Anarchism", "Long.")]
    assert source_identity("wikipedia-sample") == source_identity(str(path))


def fake_datasets(rows: list[dict[str, Any]], asked: list[Any]) -> ModuleType:
    class DatasetsError(Exception):
        pass

    def load_dataset(name: str, config: str | None, *, split: str, streaming: bool) -> Iterator[dict[str, Any]]:
        asked.append((name, config, split, streaming))
        if name == "missing/one":
            raise DatasetsError("no such\ndataset")
        return iter(rows)

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.exceptions = SimpleNamespace(DatasetsError=DatasetsError)  # type: ignore[attr-defined]
    return module


def test_a_hugging_face_dataset_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets([{"text": "a", "other": "b"}], asked))
    assert read("hf:owner/set") == [Document("0", "0", "a")]
    assert read("hf:owner/set:en:validation:other") == [Document("0", "0", "b")]
    assert read("hf:owner/set::test") == [Document("0", "0", "a")]
    assert asked == [("owner/set", None, "train", True), ("owner/set", "en", "validation", True), ("owner/set", None, "test", True)]
    assert "row 0 has no text in the field 'body'; it has the fields: 'text' (str), 'other' (str)" in error("hf:owner/set:::body")
    assert "'hf:missing/one' cannot be read: no such dataset" in error("hf:missing/one")
    assert "names no dataset" in error("hf:")
    assert "names no dataset" in error("hf:a:b:c:d:e")


def test_without_the_package_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install -e '.[data]'" in error("hf:owner/set")


def test_the_identity_of_a_source_changes_with_its_bytes_and_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    first = source_identity(str(tmp_path))
    assert source_identity(str(tmp_path)) == first
    (tmp_path / "b.txt").write_text("three")
    second = source_identity(str(tmp_path))
    (tmp_path / "b.txt").rename(tmp_path / "c.txt")
    assert len({first, second, source_identity(str(tmp_path))}) == 3
    assert source_identity("hf:owner/set") == "hf:owner/set"
