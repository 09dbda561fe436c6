"""Items of the user's own: what is read, and where a line is wrong."""

import json
from pathlib import Path

import pytest

from analyzers.errors import CorpusError
from evals.probes.labels_files import Labelled, read_items


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_spans_and_whole_texts_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "mine.jsonl",
        json.dumps({"text": "A Red door.", "spans": [[2, 5], [6, 10]], "labels": ["colour", 7], "document": "d1"}),
        "",
        json.dumps({"text": "No.", "spans": [[0, 3]], "labels": ["short"]}),
    )
    assert read_items(path) == [
        Labelled("A Red door.", ((2, 5), (6, 10)), ("colour", "7"), ("red", "door"), "d1"),
        Labelled("No.", ((0, 3),), ("short",), ("",), "3"),
    ]
    assert [item.is_whole for item in read_items(path)] == [False, True]


def test_senteval_s_columns_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "past_present.txt", "tr\tPAST\tHe left .", "va\tPRES\tHe leaves .", "te\tPAST\tShe sang .")
    assert [(item.part, item.labels, item.text, item.spans) for item in read_items(path)] == [
        ("train", ("PAST",), "He left .", ((0, 9),)),
        ("held_out", ("PRES",), "He leaves .", ((0, 11),)),
        ("test", ("PAST",), "She sang .", ((0, 10),)),
    ]


GOOD = json.dumps({"text": "A red door.", "spans": [[2, 5]], "labels": ["colour"]})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 holds no JSON object but list"),
        ('{"spans": [[0, 1]], "labels": ["a"]}', "line 2 has no text"),
        ('{"text": "abc", "labels": ["a"]}', "line 2 has no spans"),
        ('{"text": "abc", "spans": [], "labels": []}', "line 2 has no spans"),
        ('{"text": "abc", "spans": [[0, 1]], "labels": ["a", "b"]}', "line 2 has no spans with as many labels"),
        ('{"text": "abc", "spans": [[0, 4]], "labels": ["a"]}', r"line 2: \[0, 4\] is no span of the text, which has 3 characters"),
        ('{"text": "abc", "spans": [[1, 1]], "labels": ["a"]}', r"line 2: \[1, 1\] is no span"),
        ('{"text": "abc", "spans": [[-1, 1]], "labels": ["a"]}', "is no span"),
        ('{"text": "abc", "spans": [[true, 2]], "labels": ["a"]}', "is no span"),
        ('{"text": "abc", "spans": [1], "labels": ["a"]}', "line 2: 1 is no span"),
        ('{"text": "abc", "spans": [[0, 1]], "labels": [null]}', "line 2: null is no label"),
        ('{"text": "abc", "spans": [[0, 1]], "labels": [""]}', "is no label"),
    ],
)
def test_a_wrong_line_of_json_is_named(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(CorpusError, match=told):
        read_items(written(tmp_path / "mine.jsonl", GOOD, line))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("tr\tPAST", "line 3 has 2 columns"),
        ("dev\tPAST\tHe left .", "line 3 begins with 'dev'; the first column is one of tr, va, te"),
        ("tr\t\tHe left .", "line 3 has no label"),
        ("tr\tPAST\t ", "line 3 has no sentence"),
    ],
)
def test_a_wrong_line_of_senteval_is_named(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(CorpusError, match=told):
        read_items(written(tmp_path / "task.tsv", "tr\tPAST\tHe left .", "te\tPAST\tShe left .", line))


def test_files_without_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no line that begins with te"):
        read_items(written(tmp_path / "task.tsv", "tr\tPAST\tHe left ."))
    with pytest.raises(CorpusError, match="holds no items"):
        read_items(written(tmp_path / "empty.jsonl", ""))
    with pytest.raises(CorpusError, match="there is no file"):
        read_items(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match=r"ends with \.jsonl, or with \.tsv, \.txt"):
        read_items(tmp_path / "mine.csv")
