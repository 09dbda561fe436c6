"""Values with their intervals along one axis, for the templates: numbers turned into positions, no markup."""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.results import Failure, Value


def mark(name: str, value: Value | Failure | float | None, kind: str) -> dict[str, Any]:
    """One row; a number alone has no interval. kind is its class in the style sheet (ours, raw, free, told)."""
    return {"name": name, "kind": kind, "value": value}


def forest(marks: Sequence[Mapping[str, Any]], *, lowest: float = -0.5, zero: float = 0.0) -> dict[str, Any]:
    """Rows of values with intervals as percentages of an axis to 1 that begins at `lowest`, or at -1 where something lies below.

    zero: where a line says that nothing is known.
    """
    values = [each["value"] for each in marks if isinstance(each["value"], Value)]
    low = lowest if all(value.low >= lowest for value in values) else -1.0

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), 1.0) - low) / (1.0 - low), 2)

    rows = []
    for each in marks:
        value = each["value"]
        row = {"name": each["name"], "kind": each["kind"]}
        if isinstance(value, Value):
            left = place(value.low)
            row |= {"at": place(value.value), "left": left, "width": round(place(value.high) - left, 2), "n": value.n}
            row |= {"value": _two(value.value), "interval": f"[{_two(value.low)}, {_two(value.high)}]"}
        elif isinstance(value, float):
            row |= {"at": place(value), "left": place(value), "width": 0, "n": "", "value": _two(value), "interval": ""}
        else:
            row |= {"reason": value.reason if isinstance(value, Failure) else "not measured"}
        rows.append(row)
    ticks = [{"at": place(low + 0.5 * count), "text": f"{low + 0.5 * count:g}"} for count in range(round((1 - low) / 0.5) + 1)]
    return {"rows": rows, "ticks": ticks, "zero": place(zero)}


def _two(value: float) -> str:
    """Two decimals, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"
