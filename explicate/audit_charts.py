"""The charts of an audit, for the templates: all ways of asking beside random rankings and the best one found.

A chart is `groups` of rows, each with a title, on one axis; a row has its value with its interval, and marks at what it stands beside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.audit.results import AuditRow, AuditSelftest, CheckResult, Drift, Metric, PairedDifference
from evals.results import Failure, Value
from explicate.audit_table import way
from explicate.axis import Axis
from explicate.shaded_words import visible

Row = dict[str, Any]
Number = Value | Failure | float | None


def several(rows: Sequence[AuditRow]) -> bool:
    """Whether there is more than one way of asking and of perturbing."""
    return len({(way(row), row.operator) for row in rows}) > 1


def of_metric(name: str, rows: Sequence[AuditRow]) -> dict[str, Any]:
    """The model's own explanations in every way of asking, by operator; of one way under one operator all sources in their place."""
    many = several(rows)
    shown = [row for row in rows if row.source == "self" or not many]
    groups: dict[str, list[Row]] = {}
    for row in shown:
        value = row.metrics.get(name)
        beside = {"random": value.random, "best": value.best} if isinstance(value, Metric) else {}
        title = way(row) if many else row.source
        drawn = _row(title, value, beside, kind="ours" if row.source == "self" else "", void=row.void)
        groups.setdefault(row.operator if many else "", []).append(drawn)
    return chart(groups)


def of_differences(asked: str, differences: Sequence[PairedDifference], others: Sequence[str], axis: Axis) -> dict[str, Any]:
    """Comprehensiveness of the model's own explanations minus that of other sources, by operator, for one way of asking."""
    groups = {
        f"self − {other}": [_row(each.operator, each, {}, kind="ours") for each in _own(differences, other) if way(each) == asked]
        for other in others
    }
    return chart({title: rows for title, rows in groups.items() if rows}, axis)


def difference_axis(differences: Sequence[PairedDifference], others: Sequence[str]) -> Axis:
    """That all such differences share."""
    own = [each for other in others for each in _own(differences, other)]
    return Axis.of((value for each in own for value in (each.low, each.high)), ticks=2)


def _own(differences: Sequence[PairedDifference], other: str) -> list[PairedDifference]:
    return [each for each in differences if (each.a, each.b, each.metric) == ("self", other, "comprehensiveness")]


def of_check(check: CheckResult) -> dict[str, Any]:
    """Every figure beside what knows nothing."""
    rows, numbers = [], dict(counted(check))
    for name, value in check.figures.items():
        if name in numbers:
            continue
        chance, p, q = check.chance.get(name), check.p.get(name), check.q.get(name)
        row = _row(name.replace("_", " "), value, {} if chance is None else {"random": chance}, kind="ours")
        row["note"] = f"q {q:.3f}" if q is not None else "" if p is None else f"p {p:.3f}"
        rows.append(row)
    return chart({"": rows})


def counted(check: CheckResult) -> list[tuple[str, Value]]:
    """Figures that are no shares, as a number of steps, and would take the whole axis."""
    return [(name, value) for name, value in check.figures.items() if isinstance(value, Value) and value.value > 1]


def of_drift(found: Sequence[Drift]) -> dict[str, Any]:
    """Mean absolute change of f, by change and by how texts are asked."""
    groups: dict[str, list[Row]] = {}
    for each in found:
        asked = ", ".join(part for part in (each.perturbed, each.persona) if part)
        row = _row(asked, each.mean, {})
        row["note"] = "" if each.flipped is None else f"{each.flipped:.0%} flip"
        groups.setdefault(each.change, []).append(row)
    return chart(groups)


def of_selftest(found: AuditSelftest) -> dict[str, Any]:
    """Comprehensiveness of the planted explainers, where random is 0 and the best is 1."""
    rows = []
    for name, metrics in found.explainers.items():
        value = metrics.get("comprehensiveness")
        rows.append(_row(name, value.normalised if isinstance(value, Metric) else value, {}, kind="ours" if name == "honest" else ""))
    return chart({"": rows})


def chart(groups: Mapping[str, Sequence[Row]], axis: Axis | None = None) -> dict[str, Any]:
    """Rows placed on the given axis, or on one that fits them."""
    axis = axis or Axis.of(number for rows in groups.values() for row in rows for number in _numbers(row))
    placed = [{"title": visible(title), "rows": [_placed(row, axis) for row in rows]} for title, rows in groups.items()]
    return {"groups": placed, "ticks": axis.ticks, "zero": axis.place(0.0)}


def _row(name: str, value: Number, beside: Mapping[str, Number], *, kind: str = "", void: bool = False) -> Row:
    return {"name": visible(name), "of": value, "beside": beside, "kind": kind, "void": void, "note": ""}


def _numbers(row: Row) -> list[float]:
    value = row["of"]
    own = [value.low, value.high, value.value] if isinstance(value, Value) else [value] if isinstance(value, float) else []
    return [*own, *(each for each in row["beside"].values() if isinstance(each, float))]


def _placed(row: Row, axis: Axis) -> Row:
    value, shown = row["of"], {key: row[key] for key in ("name", "kind", "void", "note")}
    if value is None or isinstance(value, Failure):
        return shown | {"reason": "not measured" if value is None else visible(value.reason)}
    beside = {name: number for name, number in row["beside"].items() if isinstance(number, float)}
    marks = [{"kind": name, "at": axis.place(number), "text": f"{name} {two(number)}"} for name, number in beside.items()]
    low, high, number = (value.low, value.high, value.value) if isinstance(value, Value) else (value, value, value)
    left = axis.place(low)
    return shown | {
        "at": axis.place(number),
        "left": left,
        "width": round(axis.place(high) - left, 2),
        "value": two(number),
        "interval": f"[{two(low)}, {two(high)}]" if isinstance(value, Value) else "",
        "n": value.n if isinstance(value, Value) else "",
        "marks": marks,
    }


def two(value: float) -> str:
    """Two decimals, more where they would be zeros, and no minus before a zero."""
    places = 2 if abs(value) >= 0.01 or abs(value) < 0.0005 else 3
    return f"{round(value, places) + 0.0:.{places}f}"
