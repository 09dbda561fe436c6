"""What is not as expected in JSON of strangers is told with the place where it stands."""

import gzip
import json
import re
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from evals.exchange import reading
from evals.exchange.importing import format_of
from evals.exchange.reading import MalformedError, Node, cleaned, files_of, head, json_file, json_lines, values_of


def test_a_value_knows_its_file_line_and_path(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": {"b": [1, "x"]}}\n')
    first, second = json_lines(path)
    assert (first.get("a").whole(), first.line, second.line) == (1, 1, 3)
    with pytest.raises(
        MalformedError, match=re.escape(f"{str(path)!r} line 3, at $.a.b[1]: expected a finite number of size at most 1e+30, found 'x'")
    ):
        second.get("a").get("b").numbers()


@pytest.mark.parametrize(
    ("value", "read", "said"),
    [
        ({}, lambda node: node.get("tokens"), "'tokens' among its keys, found an object with no keys"),
        ([], lambda node: node.get("tokens"), "an object with 'tokens', found a list of 0"),
        ([], lambda node: node.texts(), "a list of tokens, at least one"),
        (["a", 1], lambda node: node.texts(), r"at \$\[1\]: expected the text of a token, found 1"),
        ([1.0], lambda node: node.numbers(2), "a list of 2 numbers, one a token"),
        ([1.0, True], lambda node: node.numbers(), r"at \$\[1\]: .* found true"),
        ([1e31], lambda node: node.numbers(), "finite number"),
        ([10**400], lambda node: node.numbers(), "a whole number of more than 18 digits"),
        ([float("nan")], lambda node: node.numbers(), "finite number"),
        (-1, lambda node: node.whole(), "a whole number from 0 on, found -1"),
        (True, lambda node: node.whole(), "a whole number from 0 on, found true"),
        ("  ", lambda node: node.name(), "a name"),
        ("x" * 301, lambda node: node.name(), "at most 300 characters"),
        (None, lambda node: list(node.items()), "a list, found null"),
    ],
)
def test_what_is_expected_is_told(value: Any, read: Callable[[Node], Any], said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        read(Node(value, Path("f.json")))


def test_scores_may_be_undefined() -> None:
    assert [Node(value, Path("f")).score() for value in (0.5, None, float("nan"), float("inf"))] == [0.5, None, None, None]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1, column 1: expected JSON"),
        (b'{"a":\n  tru}', "line 2, column 3"),
        (b"\xff\xfe\xff", "JSON in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "JSON in UTF-8"),
        (gzip.compress(b"{}" * 50)[:-9], "cannot be read"),
        (b"\x1f\x8bnothing", "cannot be read"),
    ],
)
def test_what_is_no_json_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(MalformedError, match=said):
        json_file(path)
    assert head(path) is None


def test_files_and_lines_have_a_longest_length_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 100)
    monkeypatch.setattr(reading, "LARGEST_FILE", 200)
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(b"[1]\n" + b" " * 1_000_000))
    lines = json_lines(path)
    assert next(lines).value == [1]
    with pytest.raises(MalformedError, match="line 2: expected at most 100 bytes, found more"):
        next(lines)
    with pytest.raises(MalformedError, match="at most 200 bytes"):
        json_file(path)


def test_one_value_or_one_a_line_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_text(json.dumps({"a": [1]}, indent=1))
    assert [node.value for node in values_of(path)] == [{"a": [1]}]
    path.write_bytes(gzip.compress(b"1\n2\n"))
    assert [node.value for node in values_of(path)] == [1, 2]
    assert head(path) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\,[]{}\n\u00e9', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='ab"{,', max_size=3), inner, max_size=4),
    max_leaves=20,
)


def starts(short: Any, whole: Any) -> bool:
    """Whether one JSON value is the beginning of another."""
    if isinstance(short, dict) and isinstance(whole, dict):
        return list(short) == list(whole)[: len(short)] and all(starts(short[key], whole[key]) for key in short)
    if isinstance(short, list) and isinstance(whole, list):
        return len(short) <= len(whole) and all(starts(a, b) for a, b in zip(short, whole, strict=False))
    return bool(short == whole)


@given(st.lists(JSON, min_size=1) | st.dictionaries(st.text(max_size=3), JSON, min_size=1), st.integers(1, 200), st.booleans())
def test_of_a_long_file_its_head_is_the_beginning_of_its_value(value: Any, most: int, indented: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "long.json"
        path.write_text(json.dumps(value, indent=1 if indented else None, ensure_ascii=False), encoding="utf-8")
        patch.setattr(reading, "HEAD", most)
        found = head(path)
    assert starts(found, value)
    assert found == value or path_size(value, indented) >= most


def path_size(value: Any, indented: bool) -> int:
    return len(json.dumps(value, indent=1 if indented else None, ensure_ascii=False).encode())


def test_finding_out_what_a_file_is_reads_its_head_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HEAD", 1 << 16)
    path = tmp_path / "batch-0.json"
    path.write_bytes(b'{"sae_set": "x", "features": [' + b'{"feature_index": 0},\n' * 300_000 + b"{}]}")
    tracemalloc.start()
    try:
        assert format_of(path) == "saedashboard"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The file has 6.6 MB, and one block of it is read.
    assert peak < 5e6


def test_deep_heads_take_no_more_time_than_long_ones(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_bytes(b"[" * (reading.HEAD + 1))
    assert head(path) is None


def test_a_single_long_line_is_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line's longest length is one of files that have several."""
    monkeypatch.setattr(reading, "LONGEST_LINE", 100)
    path = tmp_path / "one.json"
    for end in ("", "\n"):
        path.write_text(json.dumps(["x"] * 100) + end)
        assert [node.value for node in values_of(path)] == [["x"] * 100]
    path.write_text("[1]\n" + json.dumps(["x"] * 100))
    with pytest.raises(MalformedError, match="line 2: expected at most 100 bytes"):
        list(values_of(path))


@given(st.text())
def test_text_can_be_written_and_is_else_as_it_was(text: str) -> None:
    assert cleaned(text).encode("utf-8") == text.replace("\x00", "\ufffd").encode("utf-8")
    assert cleaned(text + "\ud800") == cleaned(text) + "?"


def test_what_is_kept_is_flat() -> None:
    node = Node({"a": [1, "x"], "b": {"c": 1}, "d": [[1]], "e": None, "f": float("nan"), "g": True}, Path("f"))
    assert node.some("a", "b", "d", "e", "f", "g", "h") == {"a": [1, "x"], "g": True}


def test_numbers_are_float64() -> None:
    values = Node([1, 0.1], Path("f")).numbers()
    assert values.dtype == np.float64
    assert values.tolist() == [1.0, 0.1]


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("b.json", "a/c.json", ".d/e.json", "a/.f.json", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    assert [path.name for path in files_of(tmp_path, ".json")] == ["c.json", "b.json"]
    with pytest.raises(ExplicateError, match="neither a file nor a folder"):
        files_of(tmp_path / "none")
