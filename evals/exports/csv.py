"""Comma-separated values, for spreadsheets and everything else: UTF-8, one row a number."""

import csv
from pathlib import Path
from typing import Any

from analyzers.whole_files import replaced
from evals.exports import EXPORTS
from evals.exports.long_table import COLUMNS, long_table
from evals.exports.places import target_file

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet may compute: by these, by what is skipped before them, or by their wide forms."""


@EXPORTS.add("csv")
def export_csv(run: Path, out: str | None) -> list[str]:
    """NAME.csv in the current folder, where nothing else is said."""
    path = target_file(run, out, ".csv")
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in long_table(run):
            table.writerow({column: _cell(row[column]) for column in COLUMNS})
    return [str(path)]


def defused(text: str) -> str:
    """The text, or where a spreadsheet might take it for a formula, the same after an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cell(value: Any) -> Any:
    return defused(value) if isinstance(value, str) else value
