"""Facts of files in three forms, and of files that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import CorpusError
from analyzers.facts import Fact, read_facts

PLAIN = {"prompt": "The Eiffel Tower stands in", "subject": "The Eiffel Tower", "target": " Paris"}
KNOWN = {"known_id": 7, "subject": "Beats Music", "attribute": "Apple", "template": "{} is owned by", "prompt": "Beats Music is owned by "}
REWRITE: dict[str, Any] = {
    "case_id": 3,
    "requested_rewrite": {"prompt": "{} speaks", "subject": "Ada", "target_new": {"str": "Greek"}, "target_true": {"str": "English"}},
}


def written(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_three_forms_are_one(tmp_path: Path) -> None:
    wanted = [
        Fact("The Eiffel Tower stands in", "The Eiffel Tower", " Paris", "facts:1"),
        Fact("Beats Music is owned by", "Beats Music", " Apple", "7"),
        Fact("Ada speaks", "Ada", " English", "3"),
    ]
    path = written(tmp_path, PLAIN, KNOWN, REWRITE)
    assert read_facts(path) == wanted
    whole = tmp_path / "facts.json"
    whole.write_text(json.dumps([PLAIN, KNOWN, REWRITE]), encoding="utf-8")
    assert read_facts(whole) == wanted
    for fact in wanted:
        assert fact.prompt[slice(*fact.span)] == fact.subject
    assert read_facts(written(tmp_path, {**PLAIN, "prompt": "In Paris: The Eiffel Tower stands in"}))[0].span == (10, 26)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**PLAIN, "subject": "Big Ben"}, "line 2: the subject 'Big Ben' does not stand in the prompt"),
        ({**PLAIN, "target": "  "}, "line 2: 'target' holds '  '; give a text"),
        ({key: value for key, value in PLAIN.items() if key != "target"}, "line 2: 'target' holds 'None'"),
        ({**PLAIN, "subject": 3}, "line 2: 'subject' holds '3'"),
        ({**PLAIN, "prompt": ""}, "line 2: 'prompt' holds ''"),
        ([], "line 2 holds no JSON object but list"),
        ({"requested_rewrite": {"prompt": "{} speaks", "subject": "Ada"}}, "line 2: requested_rewrite has no target_true"),
        ({"requested_rewrite": {**REWRITE["requested_rewrite"], "prompt": "Ada speaks"}}, r"line 2: .* write \{\} once"),
    ],
)
def test_what_is_no_fact_is_told_with_its_line(record: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=said):
        read_facts(written(tmp_path, PLAIN, record))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is not JSON"), ("{}", "holds dict, not a list"), ("[1]", "record 1 holds no JSON object but int")]
)
def test_a_file_that_is_no_list(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=said):
        read_facts(path)


def test_a_file_without_facts(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no fact; give lines such as"):
        read_facts(written(tmp_path))
    with pytest.raises(CorpusError, match="cannot be read"):
        read_facts(tmp_path / "none.jsonl")
