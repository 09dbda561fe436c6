"""The report of an audit: what the model said of its words beside what leaving them out did, the items that disagree most first."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analyzers.errors import RunFolderError
from analyzers.whole_files import replaced
from evals.audit.results import AuditResults, AuditRow, Metric
from evals.results import Value
from evals.run_folder import read_json
from explicate.audit_table import SHORT, TITLES
from explicate.forest import forest, mark
from explicate.pages import environment, trusted

SHOWN = 100
"""Items drawn; the whole list is in items.jsonl."""


def read_audit(run: Path) -> AuditResults:
    """What results.json of an audit holds; raises RunFolderError where there is none, or it is damaged."""
    path = run / "results.json"
    if not path.exists() and (run / "manifest.json").exists():
        raise RunFolderError(f"{str(run)!r} has no results.json: its run did not end; the same command with the same --out goes on")
    try:
        return AuditResults.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise RunFolderError(f"{str(path)!r} is damaged ({wrong}); run the command that made the run again") from None


def write_audit_page(run: Path) -> Path:
    """Draw report.html from results.json and items.jsonl of a run folder, and return its path."""
    results = read_audit(run)
    try:
        items = [json.loads(line) for line in (run / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{str(run / 'items.jsonl')!r} cannot be read ({error}); run the command that made the run again") from None
    path = run / "report.html"
    with replaced(path) as temporary:
        temporary.write_text(render(results, items), encoding="utf-8")
    return path


def render(results: AuditResults, items: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    drawn = sorted((_item(item) for item in items), key=lambda item: -item["disagreement"])
    page = environment().get_template("audit.html")
    return str(
        page.render(
            css=trusted("style.css"),
            title=f"Does {results.manifest.get('model', 'the model')} explain itself faithfully?",
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
        value = row.metrics[name]
        marks.append(mark(row.source, value, "ours" if row.source == "self" else "raw"))
    first = next((value for row in rows if isinstance(value := row.metrics[name], Metric)), None)
    for title, kind in (("random", "told"), ("best", "free")):
        figure = getattr(first, title) if first is not None else None
        known = Value(value=figure, low=figure, high=figure, n=first.n) if first is not None and isinstance(figure, float) else figure
        marks.append(mark({"random": "random ranking", "best": "best ranking found"}[title], known, kind))
    return {"chart": forest(marks, lowest=0.0 if name != "deletion_rank" else -0.5)}


def _plain(row: AuditRow, name: str) -> str:
    value = row.metrics[name]
    published = row.paper_compat.get(name)
    mine = f"{value.value:.3f}" if isinstance(value, Metric) else "none"
    return f"{published:.3f} ({mine})" if isinstance(published, float) else f"none ({mine})"


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Words with what was said and what was found, each relative to the item's largest value, and how far they are apart."""
    said = item["attributions"].get("self")
    effects = item["effects"] if isinstance(item["effects"], list) else None
    shares = {"said": _shares(said), "found": _shares(effects)}
    apart = 0.0
    if said is not None and effects is not None:
        apart = sum(abs(a - b) for a, b in zip(shares["said"], shares["found"], strict=True)) / len(said)
    lines = [
        {
            "name": name,
            "why": "" if values is not None else "no explanation" if key == "said" else "not measured",
            "words": [
                {
                    "text": word,
                    "for": f"{max(share, 0):.2f}",
                    "against": f"{max(-share, 0):.2f}",
                    "title": "" if values is None else f"{values[place]:+.3f}",
                }
                for place, (word, share) in enumerate(zip(item["units"], shares[key] or [0.0] * len(item["units"]), strict=True))
            ],
        }
        for key, name, values in (("said", "said", said), ("found", "found", effects))
    ]
    label, confidence = item["answer"]
    return {
        "answer": f"{label}, {confidence:.0%} sure" + (f"; true: {item['gold']}" if item["gold"] is not None else ""),
        "lines": lines,
        "disagreement": apart,
    }


def _shares(values: Sequence[float] | None) -> list[float]:
    largest = max((abs(value) for value in values or ()), default=0.0)
    return [value / largest if largest > 0 else 0.0 for value in values or ()]
