"""Items of an audit to read: words shaded by what the model said of them, beside what taking them away did."""

from collections.abc import Sequence
from typing import Any

from evals.audit.results import AuditItem
from evals.results import Failure
from explicate.audit_table import way
from explicate.shaded_words import shaded, shares, visible

LONGEST_REPLY = 2000
"""Characters of a reply that are shown; the whole of it is in items.jsonl."""
FOUND = "found"
"""Name of the line of the only operator."""


def audited_items(lines: Sequence[AuditItem], ways: Sequence[str]) -> list[dict[str, Any]]:
    """[item] all its ways of asking, the first one first and the others to be folded away; items that disagree most come first.

    lines: of items.jsonl; ways: the ways of asking, the one by which items are ordered first. Disagreement is the mean over words and
    operators of how far what was said is from what was found, each relative to the item's largest.
    """
    by_text: dict[str, dict[str, list[AuditItem]]] = {}
    for line in lines:
        by_text.setdefault(line.text, {}).setdefault(way(line), []).append(line)
    items = [_item(of, ways) for of in by_text.values()]
    return sorted(items, key=lambda item: -item["first"]["disagreement"])


def _item(by_way: dict[str, list[AuditItem]], ways: Sequence[str]) -> dict[str, Any]:
    known = [name for name in ways if name in by_way] + [name for name in by_way if name not in ways]
    first, *others = (_asked(name, by_way[name]) for name in known)
    return {"first": first, "others": others}


def _asked(name: str, lines: Sequence[AuditItem]) -> dict[str, Any]:
    """One way of asking: what was said, then for every operator what was found."""
    first = lines[0]
    said = first.attributions.get("self", Failure(stage="explain", reason="no explanation"))
    drawn = [_line("said", first.units, said)]
    apart = []
    for line in lines:
        drawn.append(_line(line.operator if len(lines) > 1 else FOUND, line.units, line.effects))
        if not isinstance(said, Failure) and not isinstance(line.effects, Failure) and line.units:
            both = zip(shares(said), shares(line.effects), strict=True)
            apart.append(sum(abs(a - b) for a, b in both) / len(line.units))
    reply = first.reply or ""
    return {
        "name": visible(name),
        "answer": visible(_answer(first)),
        "text": visible(first.text) if not first.units else "",
        "lines": drawn,
        "reply": "\n".join(map(visible, reply[:LONGEST_REPLY].split("\n"))) + ("…" if len(reply) > LONGEST_REPLY else ""),
        "disagreement": sum(apart) / len(apart) if apart else 0.0,
    }


def _answer(item: AuditItem) -> str:
    true = f"; true: {item.gold}" if item.gold is not None else ""
    if isinstance(item.answer, Failure):
        return f"no answer: {item.answer.reason}{true}"
    stated = f", states {item.answer.stated:.0%}" if item.answer.stated is not None else ""
    return f"{item.answer.label}, {item.answer.confidence:.0%} sure{stated}{true}"


def _line(name: str, units: Sequence[str], values: Sequence[float] | Failure) -> dict[str, Any]:
    if isinstance(values, Failure):
        return {"name": visible(name), "why": visible(values.reason), "words": []}
    return {"name": visible(name), "why": "", "words": shaded(units, values)}
