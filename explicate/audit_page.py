"""The report of an audit: what the model said of its words beside what leaving them out did, the items that disagree most first."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyzers.errors import RunFolderError
from analyzers.whole_files import replaced
from evals.audit.results import AuditItem, AuditResults, AuditRow, Metric, Published
from evals.results import Failure
from evals.run_folder import read_results
from explicate.audit_table import SHORT, TITLES, question
from explicate.forest import forest, mark
from explicate.pages import environment, trusted

SHOWN = 100
"""Items drawn; the whole list is in items.jsonl."""


def write_audit_page(run: Path) -> Path:
    """Draw report.html from results.json and items.jsonl of a run folder, and return its path."""
    results, lines = read_results(run, AuditResults), run / "items.jsonl"
    try:
        # Not splitlines: a text may hold other line ends than the file's.
        items = [AuditItem.model_validate_json(line) for line in lines.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunFolderError(f"{str(lines)!r} cannot be read ({reason}); run the command that made the run again") from None
    path = run / "report.html"
    with replaced(path) as temporary:
        temporary.write_text(render(results, items), encoding="utf-8")
    return path


def render(results: AuditResults, items: Sequence[AuditItem]) -> str:
    """The whole page."""
    drawn = sorted((_item(item) for item in items), key=lambda item: -item["disagreement"])
    page = environment().get_template("audit.html")
    return str(
        page.render(
            css=trusted("style.css"),
            title=question(results),
            subtitle=", ".join(_asked(results.rows)),
            verdict=f"{results.verdict}: {results.verdict_reason}",
            figures=[{"title": title, **_chart(name, results.rows)} for name, title in TITLES.items()],
            differences=[
                {
                    "metric": TITLES.get(each.metric, each.metric),
                    "pair": f"{each.a} − {each.b}",
                    "value": f"{each.value:+.3f}",
                    "interval": f"[{each.low:+.3f}, {each.high:+.3f}]",
                    "n": each.n,
                    "q": "none" if each.q is None else f"{each.q:.3f}",
                }
                for each in results.paired_differences
            ],
            compat=[{"source": row.source, "figures": [_plain(row, name) for name in TITLES]} for row in results.rows if row.paper_compat],
            columns=list(SHORT.values()),
            items=drawn[:SHOWN],
            n_items=len(drawn),
            manifest=json.dumps(results.manifest, indent=1, ensure_ascii=False),
        )
    )


def _asked(rows: Sequence[AuditRow]) -> list[str]:
    return sorted({f"{row.elicitation}, {row.order or 'order not known'}, perturbed by: {row.operator}" for row in rows})


def _chart(name: str, rows: Sequence[AuditRow]) -> dict[str, Any]:
    """Every source's mean, the mean of random rankings and of the best found, on one axis."""
    marks = []
    for row in rows:
        value = row.metrics.get(name)
        marks.append(mark(row.source, value, "ours" if row.source == "self" else "raw"))
    first = next((value for row in rows if isinstance(value := row.metrics.get(name), Metric)), None)
    for title, kind, figure in (
        ("random ranking", "told", None if first is None else first.random),
        ("best ranking found", "free", None if first is None else first.best),
    ):
        marks.append(mark(title, figure, kind))
    return {"chart": forest(marks, lowest=0.0 if name != "deletion_rank" else -0.5)}


def _plain(row: AuditRow, name: str) -> str:
    value, published = row.metrics.get(name), row.paper_compat.get(name)
    mine = f"{value.value:.3f}" if isinstance(value, Metric) else "none"
    return f"{published.value:.3f} of {published.n} ({mine})" if isinstance(published, Published) else f"none ({mine})"


def _item(item: AuditItem) -> dict[str, Any]:
    """Words with what was said and what was found, each relative to the item's largest value, and how far they are apart."""
    said = item.attributions.get("self", Failure(stage="explain", reason="no explanation"))
    lines: list[dict[str, Any]] = []
    shares: list[list[float]] = []
    for name, values in (("said", said), ("found", item.effects)):
        if isinstance(values, Failure):
            lines.append({"name": name, "why": values.reason, "words": []})
            continue
        shares.append(_shares(values))
        words = [
            {"text": word, "for": f"{max(share, 0):.2f}", "against": f"{max(-share, 0):.2f}", "title": f"{value:+.3f}"}
            for word, share, value in zip(item.units, shares[-1], values, strict=True)
        ]
        lines.append({"name": name, "why": "", "words": words})
    both = list(zip(*shares, strict=True)) if len(shares) == len(lines) else []
    answer = (
        f"no answer: {item.answer.reason}"
        if isinstance(item.answer, Failure)
        else f"{item.answer.label}, {item.answer.confidence:.0%} sure"
    )
    return {
        "answer": answer + (f"; true: {item.gold}" if item.gold is not None else ""),
        "lines": lines,
        "disagreement": sum(abs(a - b) for a, b in both) / len(both) if both else 0.0,
    }


def _shares(values: Sequence[float]) -> list[float]:
    largest = max((abs(value) for value in values), default=0.0)
    return [value / largest if largest > 0 else 0.0 for value in values]
