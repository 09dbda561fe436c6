"""Entities with where or when they are, from a CSV file."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from analyzers.corpus import csv_rows
from analyzers.errors import ExplicateError
from evals.source_files import sources

SAMPLE = Path(__file__).parent / "samples" / "places.csv"
PLACE = ("latitude", "longitude")
DATES = ("year", "date", "release_date", "death_year", "birth_year")
"""Columns that are taken without being named, where there is one of them and no place."""
TEST = "is_test"
"""Column that says of each entity whether it belongs to the test."""
_RANGES = (90.0, 180.0)
_MISSING = ("", "nan", "na", "n/a", "none", "null")
_ISO = re.compile(r"([+-]?\d{1,6})-(\d\d)-(\d\d)(?:[T ].*)?")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Entity:
    """One row."""

    name: str
    target: tuple[float, ...]
    """Latitude and longitude in degrees, or one number."""
    group: str | None = None
    test: bool | None = None
    """None where the file does not say."""


@dataclass(frozen=True)
class Entities:
    """All entities of a file whose target is known, each name once."""

    entities: tuple[Entity, ...]
    target: tuple[str, ...]
    """The columns."""
    source: dict[str, str]
    """SHA-256 of the file by its name."""
    left_out: dict[str, int] = field(default_factory=dict)
    """without_target; repeated: rows like an earlier one; ambiguous: rows of a name that has several targets."""


def read_entities(path: Path, *, target: Sequence[str] = (), name: str = "name", group: str | None = None, drawn: bool = False) -> Entities:
    """Read a CSV file as `csv_rows` does.

    target: two columns, latitude first, or one of numbers, years or ISO dates; none: latitude and longitude, or the only one of DATES.
    drawn: whether a column `is_test` is passed over. Raises ExplicateError that names the file, and the line where there is one: no such
    file or column, no row, a coordinate out of range, what is no number or date, and as `csv_rows` does.
    """
    if not path.is_file():
        raise ExplicateError(f"there is no file {str(path)!r}; give a CSV file with a column of names and one or two of targets")
    rows = list(csv_rows(path))
    if not rows:
        raise ExplicateError(
            f"{str(path)!r} is empty; give a CSV file whose first line names its columns, with an entity in each other one"
        )
    header = list(rows[0][1])
    columns = _target(path, header, target)
    for needed in (name, *columns, *([] if group is None else [group])):
        if needed not in header:
            raise ExplicateError(f"{str(path)!r} has no column {needed!r}; it has {', '.join(header)}; name one of these")
    tested = TEST in header and not drawn
    found: dict[str, list[Entity]] = {}
    left_out = {"without_target": 0, "repeated": 0, "ambiguous": 0}
    for where, row in rows:
        called, said = row[name].strip(), [row[column].strip() for column in columns]
        if not called:
            raise ExplicateError(f"{where} has no {name!r}; name the entity, or leave the row out")
        if any(each.casefold() in _MISSING for each in said):
            left_out["without_target"] += 1
            continue
        numbers = tuple(_number(where, column, each) for column, each in zip(columns, said, strict=True))
        _check_range(where, columns, numbers)
        of = None if group is None else row[group].strip() or None
        found.setdefault(called, []).append(Entity(called, numbers, of, _test(where, row) if tested else None))
    entities = []
    for same in found.values():
        if len({entity.target for entity in same}) > 1:
            left_out["ambiguous"] += len(same)
        else:
            left_out["repeated"] += len(same) - 1
            entities.append(same[0])
    return Entities(tuple(entities), columns, sources([path]), left_out)


def _target(path: Path, header: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    if not asked:
        if all(column in header for column in PLACE):
            return PLACE
        dates = [column for column in header if column in DATES]
        if len(dates) != 1:
            raise ExplicateError(
                f"{str(path)!r} has no columns latitude and longitude, and {len(dates) or 'none'} of {', '.join(DATES)}; it has "
                f"{', '.join(header)}; say what to probe for by --target COLUMN, or --target LATITUDE,LONGITUDE"
            )
        return (dates[0],)
    if len(asked) > 2 or len(set(asked)) < len(asked):
        raise ExplicateError(f"--target names {', '.join(asked)}; name a latitude and a longitude, or one column of numbers or dates")
    if len(asked) == 2 and (asked[0].casefold().startswith(("lon", "lng")) or asked[1].casefold().startswith("lat")):
        raise ExplicateError(f"--target {','.join(asked)} has the longitude first; write --target {asked[1]},{asked[0]}")
    return tuple(asked)


def _number(where: str, column: str, text: str) -> float:
    """A number, or a date as a year with its fraction."""
    try:
        value = float(text)
    except ValueError:
        value = _year(text)
    if not math.isfinite(value):
        raise ExplicateError(f"{where} has {text[:40]!r} in the column {column!r}, which is no number or ISO date (1969-07-20); mend it")
    return value


def _year(text: str) -> float:
    """NaN where it is no ISO date; a year before 1 has the calendar of one 400 years later."""
    found = _ISO.fullmatch(text)
    if found is None:
        return math.nan
    year = int(found[1])
    alike = 2000 + year % 400
    try:
        day = date(alike, int(found[2]), int(found[3]))
    except ValueError:
        return math.nan
    return year + (day - date(alike, 1, 1)).days / (date(alike + 1, 1, 1) - date(alike, 1, 1)).days


def _check_range(where: str, columns: Sequence[str], numbers: Sequence[float]) -> None:
    if len(numbers) == 2:
        for column, value, most in zip(columns, numbers, _RANGES, strict=True):
            if abs(value) > most:
                raise ExplicateError(
                    f"{where} has {value:g} in the column {column!r}, which must lie between -{most:g} and {most:g} degrees"
                )


def _test(where: str, row: Mapping[str, str]) -> bool:
    said = row[TEST].strip().casefold()
    if said not in _BOOLEANS:
        raise ExplicateError(f"{where} has {row[TEST]!r} in the column {TEST!r}; write true or false, or leave the column out")
    return _BOOLEANS[said]
