"""Entities from CSV files: what is read, what is left out and counted, and every mistake with its line."""

import csv
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from evals.probes.place_table import SAMPLE, _year, read_entities

HEAD = "name,latitude,longitude,country\n"


def file(folder: Path, text: str, name: str = "places.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_entities_with_the_latitude_first(tmp_path: Path) -> None:
    path = file(tmp_path, 'longitude,name,latitude,country\n2.35,"Paris, the city",48.86,France\n\n-74,Bogotá,4.7,\n')
    found = read_entities(path, group="country")
    assert [(each.name, each.target, each.group, each.test) for each in found.entities] == [
        ("Paris, the city", (48.86, 2.35), "France", None),
        ("Bogotá", (4.7, -74.0), None, None),
    ]
    assert found.target == ("latitude", "longitude")
    assert list(found.source) == ["places.csv"]


def test_what_has_no_target_is_repeated_or_ambiguous_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = "A,1,2,x\nB,,2,x\nC,3,nan,x\nA,1,2,y\nD,5,6,x\nD,7,8,x\nE,9,9,x\n"
    found = read_entities(file(tmp_path, HEAD + rows))
    assert [each.name for each in found.entities] == ["A", "E"]
    assert found.left_out == {"without_target": 2, "repeated": 1, "ambiguous": 2}


def test_tabs_and_further_columns(tmp_path: Path) -> None:
    found = read_entities(
        file(tmp_path, "who\tdied\tis_test\nCaesar\t-44\tTrue\nBach\t1750\t0\n", "people.tsv"), target=["died"], name="who"
    )
    assert [(each.name, each.target, each.test) for each in found.entities] == [("Caesar", (-44.0,), True), ("Bach", (1750.0,), False)]
    alone = read_entities(file(tmp_path, "name,year\nA,1\n"))
    assert alone.target == ("year",)


def test_a_drawn_split_passes_over_the_files_own(tmp_path: Path) -> None:
    path = file(tmp_path, "name,year,is_test\nA,1,perhaps\n")
    assert read_entities(path, drawn=True).entities[0].test is None
    with pytest.raises(ExplicateError, match=r"line 2 has 'perhaps' in the column 'is_test'; write true or false"):
        read_entities(path)


@given(day=st.dates(date(1601, 1, 1), date(2399, 12, 30)))
def test_dates_are_years_with_their_fraction(day: date) -> None:
    year = _year(day.isoformat())
    assert int(year) == day.year
    assert _year((day + timedelta(days=1)).isoformat()) - year == pytest.approx(
        1 / (366 if day.year % 4 == 0 and day.year != 1700 else 365), rel=0.01
    )
    assert _year(day.isoformat() + "T12:00:00Z") == year


def test_dates_before_our_era_and_those_that_are_none(tmp_path: Path) -> None:
    assert _year("-0044-03-15") == pytest.approx(-44 + 74 / 366, abs=1e-3)
    for wrong in ("1900-02-29", "1900-13-01", "12/07/1900", "1900-1-1"):
        with pytest.raises(ExplicateError, match=rf"line 2 has '{wrong}' in the column 'date', which is no number or ISO date"):
            read_entities(file(tmp_path, f"name,date\nA,{wrong}\n"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("A,91,0,x", r"line 2 has 91 in the column 'latitude', which must lie between -90 and 90 degrees"),
        ("A,1,1,x\n\nB,-12,-180.5,x", r"line 4 has -180.5 in the column 'longitude', which must lie between -180 and 180 degrees"),
        ("A,north,0,x", r"line 2 has 'north' in the column 'latitude', which is no number"),
        ("A,inf,0,x", r"line 2 has 'inf' in the column 'latitude'"),
        ("A,1,2", r"line 2 has 3 columns and line 1, which names them, 4"),
        (",1,2,x", r"line 2 has no 'name'"),
        ('"A,1,2,x', r"line 2 is not CSV"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(ExplicateError, match=said):
        read_entities(file(tmp_path, HEAD + rows + "\n"))


def test_columns_that_are_not_there_are_told_with_those_that_are(tmp_path: Path) -> None:
    path = file(tmp_path, HEAD + "A,1,2,x\n")
    with pytest.raises(ExplicateError, match="has no column 'title'; it has name, latitude, longitude, country"):
        read_entities(path, name="title")
    with pytest.raises(ExplicateError, match="has no column 'continent'"):
        read_entities(path, group="continent")
    with pytest.raises(ExplicateError, match="has no column 'elevation'"):
        read_entities(path, target=["elevation"])
    with pytest.raises(ExplicateError, match="has the longitude first; write --target latitude,longitude"):
        read_entities(path, target=["longitude", "latitude"])
    with pytest.raises(ExplicateError, match="name a latitude and a longitude, or one column"):
        read_entities(path, target=["latitude", "longitude", "country"])
    with pytest.raises(ExplicateError, match=r"no columns latitude and longitude, and none of year, .*--target COLUMN"):
        read_entities(file(tmp_path, "name,height\nA,3\n"))
    with pytest.raises(ExplicateError, match=r"and 2 of year"):
        read_entities(file(tmp_path, "name,year,date\nA,3,4\n"))
    with pytest.raises(ExplicateError, match="its columns are called 'name', 'year', 'year'"):
        read_entities(file(tmp_path, "name,year,year\nA,3,4\n"))
    with pytest.raises(ExplicateError, match="is empty"):
        read_entities(file(tmp_path, ""))
    with pytest.raises(ExplicateError, match="is empty"):
        read_entities(file(tmp_path, HEAD))
    with pytest.raises(ExplicateError, match="there is no file"):
        read_entities(tmp_path / "none.csv")


def test_the_cities_that_are_built_in() -> None:
    found = read_entities(SAMPLE, group="continent")
    assert len(found.entities) >= 120
    assert not any(found.left_out.values())
    boxes = {  # latitude and longitude, each from and to
        "Europe": (35, 66, -25, 45),
        "Asia": (-9, 56, 26, 142),
        "Africa": (-35, 38, -18, 52),
        "North America": (8, 52, -125, -70),
        "South America": (-36, 12, -82, -34),
        "Oceania": (-47, 22, -180, 180),
    }
    for each in found.entities:
        south, north, west, east = boxes[str(each.group)]
        assert south <= each.target[0] <= north, each
        assert west <= each.target[1] <= east, each
    with SAMPLE.open(encoding="utf-8", newline="") as rows:
        countries = [row["country"] for row in csv.DictReader(rows)]
    assert len(set(countries)) >= 60
