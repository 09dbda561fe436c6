"""Files of edits: what each form says is read, and what is wrong is told with the number of its record."""

import json
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import CorpusError
from evals.editing.cases import Asked, read_cases

PUBLISHED = {
    "case_id": 17,
    "requested_rewrite": {
        "prompt": "{} was born in",
        "subject": "Anna",
        "target_new": {"str": "Rome"},
        "target_true": {"str": "Oslo"},
        "relation_id": "P19",
    },
    "paraphrase_prompts": ["In winter. Anna comes from", "Anna, born in"],
    "neighborhood_prompts": ["Emil was born in"],
    "attribute_prompts": ["Gina was born in"],
    "generation_prompts": ["Anna grew up", "Anna's home is"],
}
FLAT = {
    "case_id": 0,
    "prompt": "Anna was born in",
    "subject": "Anna",
    "target_new": "Rome",
    "ground_truth": "Oslo",
    "rephrase_prompt": "Anna, born in",
    "locality_prompt": "Emil was born in",
    "locality_ground_truth": "Oslo",
}
ZSRE = {
    "subject": "Anna",
    "src": "Where was Anna born?",
    "pred": "Oslo",
    "rephrase": "What is Anna's birthplace?",
    "alt": "Rome",
    "answers": ["Oslo"],
    "loc": "nq question: who wrote hamlet",
    "loc_ans": "Shakespeare",
}
KNOWEDIT = {
    "subject": "Anna",
    "prompt": "Anna was born in",
    "target_new": "Rome",
    "ground_truth": ["Oslo"],
    "rephrase": "Anna, born in",
    "portability": {
        "Reasoning": [{"prompt": "The country Anna was born in is", "ground_truth": [["Italy", "the Italian Republic"]]}],
        "Subject_Aliasing": [{"prompt": "Annie was born in", "ground_truth": "Rome"}],
    },
    "locality": {"Relation_Specificity": [{"prompt": "Anna works as", "ground_truth": [["a nurse"]]}]},
}


def written(folder: Path, *records: Any, name: str = "edits.jsonl") -> Path:
    path = folder / name
    text = json.dumps(list(records)) if name.endswith(".json") else "".join(f"{json.dumps(each)}\n" for each in records)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["auto", "counterfact"])
def test_counterfact_as_published(tmp_path: Path, form: str) -> None:
    ((case,), notes) = read_cases(written(tmp_path, PUBLISHED), form)
    assert (case.fact.prompt, case.fact.subject, case.fact.target, case.fact.id) == ("Anna was born in", "Anna", " Rome", "17")
    assert (case.true, case.rephrases) == (" Oslo", ("In winter. Anna comes from", "Anna, born in"))
    assert case.locality == (Asked("Emil was born in", " Oslo"),)
    assert case.neighbours
    assert (case.portability, case.writing, notes) == ((), "Anna grew up", [])


def test_counterfact_flat_and_as_a_list(tmp_path: Path) -> None:
    ((case,), _) = read_cases(written(tmp_path, FLAT, name="edits.json"))
    assert (case.fact.id, case.true, case.rephrases) == ("0", " Oslo", ("Anna, born in",))
    assert case.locality == (Asked("Emil was born in", " Oslo"),)
    assert case.neighbours


def test_zsre(tmp_path: Path) -> None:
    ((case,), _) = read_cases(written(tmp_path, ZSRE))
    assert (case.fact.prompt, case.fact.target, case.true) == ("Where was Anna born?", " Rome", " Oslo")
    assert case.rephrases == ("What is Anna's birthplace?",)
    assert case.locality == (Asked("nq question: who wrote hamlet", " Shakespeare"),)
    assert not case.neighbours


def test_knowedit(tmp_path: Path) -> None:
    ((case,), _) = read_cases(written(tmp_path, KNOWEDIT))
    assert case.portability == (
        Asked("The country Anna was born in is", " Italy", "Reasoning"),
        Asked("Annie was born in", " Rome", "Subject_Aliasing"),
    )
    assert case.locality == (Asked("Anna works as", " a nurse", "Relation_Specificity"),)
    assert (case.true, case.rephrases) == (" Oslo", ("Anna, born in",))


def test_plain_lines(tmp_path: Path) -> None:
    lines = {"prompt": "Anna sings", "subject": "Anna", "target_new": " songs", "locality": ["It is", "He was"], "reference": "She sang."}
    ((case,), _) = read_cases(written(tmp_path, lines))
    assert (case.fact.target, case.true, case.reference) == (" songs", None, "She sang.")
    assert case.locality == (Asked("It is", None), Asked("He was", None))


def test_the_same_edit_twice_is_one(tmp_path: Path) -> None:
    cases, notes = read_cases(written(tmp_path, FLAT, FLAT))
    assert len(cases) == 1
    assert "1 of the edits" in notes[0]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "holds no edit"),
        ([FLAT, FLAT | {"target_new": "Paris"}], "line 2 contradicts"),
        ([{"prompt": "Anna sings", "subject": "Anna", "target": " songs"}], "has 'target', what a fact says, and not what it is to say"),
        ([FLAT | {"subject": "Berta"}], "the subject 'Berta' does not stand in the prompt"),
        ([FLAT, FLAT | {"prompt": 3}], "line 2: 'prompt' holds '3'"),
        ([FLAT | {"target_new": " "}], "'target_new' holds ' '"),
        ([ZSRE | {"alt": None}], "'alt' holds 'None'"),
        ([PUBLISHED | {"requested_rewrite": {"subject": "Anna"}}], "requested_rewrite.prompt"),
        ([KNOWEDIT | {"portability": {"Reasoning": [{"prompt": "So"}]}}], "has no ground_truth"),
        ([KNOWEDIT | {"portability": {"Reasoning": ["So"]}}], "give objects with prompt and ground_truth"),
        ([KNOWEDIT | {"locality": ["a"]}], "'locality' holds no object"),
        ([FLAT | {"locality_prompt": ["a", "b"]}], "2 prompts as locality and 1 answers"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, records: list[Any], said: str) -> None:
    with pytest.raises(CorpusError) as told:
        read_cases(written(tmp_path, *records), "knowedit" if records and "portability" in records[0] else "auto")
    assert said in str(told.value)


def test_contradictions_name_both(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"line 3 contradicts .*line 1: of 'Anna was born in' one writes 'Paris' and the other 'Rome'"):
        read_cases(written(tmp_path, FLAT, FLAT | {"prompt": "Anna lives in"}, FLAT | {"target_new": "Paris"}))
    with pytest.raises(CorpusError, match="there is no file"):
        read_cases(tmp_path / "none.jsonl")


@pytest.mark.parametrize("key", ["ground_truth", "target_true"])
def test_a_plain_line_says_what_was_true_in_either_word(tmp_path: Path, key: str) -> None:
    line = {"prompt": "Anna was born in", "subject": "Anna", "target_new": "Rome", key: "Oslo"}
    (case,), _ = read_cases(written(tmp_path, line))
    assert case.true == " Oslo"
