"""What the tables and pages of an audit and of a measurement of confidence have in common."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from analyzers.whole_files import replaced
from evals.run_folder import read_items, read_results
from explicate.running import plain
from explicate.shaded_words import visible

if TYPE_CHECKING:
    from rich.table import Table

    from evals.audit.results import AuditResults, Missing
    from evals.confidence.results import ConfidenceResults

Results = TypeVar("Results", bound=BaseModel)
Item = TypeVar("Item", bound=BaseModel)

LONG = 160
"""Of a reason that a model's reply may be quoted in."""
REASONS = 5
"""Of failures, listed; all are in results.json."""


def write_page(run: Path, results: type[Results], item: type[Item], render: Callable[[Results, Sequence[Item]], str]) -> Path:
    """Draw report.html from results.json and items.jsonl of a run folder, and return its path."""
    page = render(read_results(run, results), read_items(run, item))
    path = run / "report.html"
    with replaced(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def visible_json(value: Any) -> str:
    """JSON to read, on lines of its own."""
    return "\n".join(visible(line) for line in json.dumps(value, indent=1, ensure_ascii=False).split("\n"))


def new_table(title: str, columns: Iterable[str]) -> "Table":
    """A table of narrow columns."""
    from rich import box
    from rich.table import Table

    table = Table(title=plain(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def cost_sentence(results: "AuditResults | ConfidenceResults") -> str:
    """Calls, tokens and money; empty where no model was asked."""
    if results.calls is None or results.tokens is None:
        return ""
    return (
        f"{results.n_items} items; {results.calls.made:,} calls made, {results.calls.cached:,} from the cache, "
        f"{results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
        + (f", not counting {visible(', '.join(results.unpriced))}, whose price is not known." if results.unpriced else ".")
    )


def commonest(missing: "Sequence[Missing]") -> str:
    """The reason that most items are left out for, with its number; empty where none is."""
    first = max(missing, key=lambda each: each.n, default=None)
    return "" if first is None else f"most often ({first.n}): {first.stage}, {visible(first.reason[:LONG])}"


def told_once(found: Iterable[tuple[str, str]]) -> list[str]:
    """What is said of each name, the names of which the same is said together before it."""
    names: dict[str, list[str]] = {}
    for name, said in found:
        names.setdefault(said, []).append(name)
    return [f"{plain('; '.join(of))}: {plain(said)}" for said, of in names.items()]
