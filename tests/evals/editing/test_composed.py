"""Edits whose portability follows from published relations, on relations that were made up."""

import json
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import CorpusError
from evals.editing.cases import read_cases
from evals.editing.composed import main, read_composed, records

COUNTRIES = {"Arda": ("Minas", "Castar", "Westron"), "Ooo": ("Candia", "Penny", "Gnomish"), "Oz": ("Emer", "Spel", "Ozzish"), "Nemo": ()}
LANDMARKS = {
    "Old Mill": "Arda",
    "Red Gate": "Arda",
    "High Well": "Arda",
    "Sand Bar": "Arda",
    "Ice Hall": "Ooo",
    "Fort": "Oz",
    "Reef": "Nemo",
}


def relation(folder: Path, name: str, templates: list[str], samples: dict[str, str]) -> None:
    told = {
        "name": name.replace("_", " "),
        "prompt_templates": templates,
        "prompt_templates_zs": [f"Asked of {{}}, {name}:", templates[0]],
        "properties": {"symmetric": False},
        "samples": [{"subject": subject, "object": value} for subject, value in samples.items()],
    }
    (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    known = {name: values for name, values in COUNTRIES.items() if values}
    relation(tmp_path, "landmark_in_country", ["{} is in the country of"], LANDMARKS)
    for number, (name, template) in enumerate(
        [("country_capital_city", "The capital of {} is"), ("country_currency", "{} pays in"), ("country_language", "In {} they speak")]
    ):
        relation(tmp_path, name, [template], {country: values[number] for country, values in known.items()})
    return tmp_path


def test_what_follows_is_of_the_new_object_and_the_rest_stays(folder: Path) -> None:
    found = records(read_composed(folder), seed=3)
    # Of Nemo nothing further is told.
    assert [each["id"] for each in found] == [name for name, country in LANDMARKS.items() if country != "Nemo"]
    for each in found:
        true, new = LANDMARKS[each["id"]], each["target_new"]
        assert each["ground_truth"] == true
        assert new != true
        assert new in {"Arda", "Ooo", "Oz"}
        assert each["prompt"] == f"{each['id']} is in the country of"
        assert each["rephrase"] == [f"Asked of {each['id']}, landmark_in_country:"]
        expected = ("country capital city", "country currency", "country language")
        assert [items[0]["ground_truth"] for items in each["portability"].values()] == list(COUNTRIES[new])
        assert tuple(each["portability"]) == expected
        stays = each["locality"]
        assert [stays[kind][0]["ground_truth"] for kind in expected] == list(COUNTRIES[true])
        near = [item["prompt"].removesuffix(" is in the country of") for item in stays["landmark in country"]]
        assert len(near) == min(2, sum(value == true for value in LANDMARKS.values()) - 1)
        assert each["id"] not in near
        assert {LANDMARKS[name] for name in near} <= {true}


def test_a_question_names_the_new_object_by_its_subject(folder: Path) -> None:
    mill = records(read_composed(folder))[0]
    asked = [items[0]["prompt"] for items in mill["portability"].values()]
    assert asked == [
        "The capital of the country where Old Mill lies is",
        "The country where Old Mill lies pays in",
        "In the country where Old Mill lies they speak",
    ]


def test_what_follows_of_the_new_object_does_not_follow_of_the_old_one(folder: Path) -> None:
    """Else the model would say it without the edit, and portability would count what it knew."""
    relation(folder, "country_currency", ["{} pays in"], {"Arda": "Castar", "Ooo": "Penny", "Oz": "Castar"})
    for seed in range(5):
        found = {each["id"]: each["target_new"] for each in records(read_composed(folder), seed=seed)}
        assert {found[name] for name in ("Old Mill", "Red Gate", "High Well", "Sand Bar", "Fort")} == {"Ooo"}
        assert found["Ice Hall"] in {"Arda", "Oz"}
    relation(folder, "country_currency", ["{} pays in"], dict.fromkeys(("Arda", "Ooo", "Oz"), "Castar"))
    with pytest.raises(CorpusError, match="the same follows"):
        records(read_composed(folder))


def test_new_objects_are_drawn_by_the_seed(folder: Path) -> None:
    given = read_composed(folder)
    assert records(given, seed=1) == records(given, seed=1)
    drawn = {tuple(each["target_new"] for each in records(given, seed=seed)) for seed in range(8)}
    assert len(drawn) > 2


def test_what_is_written_is_read_as_knowedit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["composed", str(folder), "--seed", "5"])
    assert main() == 0
    path = tmp_path / "edits.jsonl"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    cases, _ = read_cases(path)
    assert [case.fact.subject for case in cases] == [each["subject"] for each in records(read_composed(folder), seed=5)]
    assert {each.kind for case in cases for each in case.portability} == {"country capital city", "country currency", "country language"}
    assert all(case.true == f" {LANDMARKS[case.fact.subject]}" for case in cases)


def test_a_file_that_is_missing_or_no_relation(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (folder / "country_currency.json").write_text('{"name": "x"}', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"country_currency\.json' is no relation: Field required"):
        read_composed(folder)
    (folder / "country_currency.json").unlink()
    monkeypatch.setattr("sys.argv", ["composed", str(folder)])
    assert main() == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert "there is no file" in out.err
    assert out.err.count("\n") == 1


def test_too_few_objects(folder: Path) -> None:
    relation(folder, "country_currency", ["{} pays in"], {"Oz": "Spel"})
    with pytest.raises(CorpusError, match="share 1 of their subjects"):
        records(read_composed(folder))
