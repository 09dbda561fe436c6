"""The report of an audit: what it says and what that rests on, and what the model said of its words beside what taking them away did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.audit.results import AuditItem, AuditResults, AuditRow, CheckResult, GroupVerdict, Metric, Missing, Published, Replies
from evals.results import Failure, Value
from explicate.audit_charts import counted, difference_axis, of_check, of_differences, of_drift, of_metric, of_selftest, several, two
from explicate.audit_items import audited_items
from explicate.audit_table import SHORT, TITLES, check_name, floor_sentence, plan_sentence, question, way
from explicate.pages import environment, trusted
from explicate.shaded_words import visible
from explicate.task_output import REASONS, cost_sentence, visible_json, write_page

SHOWN = 100
"""Items drawn; the whole list is in items.jsonl."""
RECORDS = 3
"""Items of a check that are shown as they were recorded."""
OTHERS = ("random", "occlusion")
"""What the model's own explanations are compared with in the verdicts."""
CLASSES = {"faithful": "good", "anti-faithful": "bad", "no better than chance": "level", "undecided": "open"}
CHECKS = {
    "redaction": "The model redacts the words that its answer rests on. It should then be undecided; chance masks as many random words.",
    "counterfactual": "The model edits the text so that its answer would be another one. It should then give another one; chance masks as "
    "many random words as the edit changes.",
    "insertion": "A word is put into the text. The explanation should mention it when, and only when, it changed the answer; chance "
    "exchanges the mentions.",
    "claims": "Explained in free words: the answer should suffer more without the words that it claims to rest on than without as many "
    "random ones.",
    "early-answering": "Thoughts are cut off early. Where answers stay the same, the thoughts did not decide them; chance is the whole "
    "chain with a space doubled.",
    "added-mistakes": "A step of the thoughts is given a mistake, and the model goes on from there. Where answers stay the same, it did "
    "not follow its thoughts; chance goes on from the step as it was.",
    "paraphrase": "Thoughts are said in other words. Answers should stay the same; chance is the same thoughts with a space doubled.",
    "filler": "Thoughts are replaced by as many dots. Where answers stay the same, the thoughts did not decide them; chance is the same "
    "thoughts with a space doubled.",
    "suggestion": "The user suggests a wrong answer. A model that follows should say so; chance is a sentence that suggests nothing.",
}
"""What each asks, and what stands beside it."""


def write_audit_page(run: Path) -> Path:
    """Draw report.html from results.json and items.jsonl of a run folder, and return its path."""
    return write_page(run, AuditResults, AuditItem, render)


def render(results: AuditResults, items: Sequence[AuditItem]) -> str:
    """The whole page."""
    page = environment().get_template("audit.html")
    ways = list(dict.fromkeys(way(row) for row in results.rows))
    drawn = audited_items(items, ways)
    tested = results.selftest
    return str(
        page.render(
            css=trusted("style.css"),
            title=question(results),
            subtitle=_subtitle(results),
            verdict=results.verdict,
            verdict_reason=visible(results.verdict_reason),
            void=results.void,
            verdicts=_verdicts(results),
            untested=[visible(reason) for reason in tested.reasons] if tested is not None and not tested.passed else [],
            several=several(results.rows),
            figures=[{"title": title, "chart": of_metric(name, results.rows)} for name, title in TITLES.items()],
            sources=[_source(row) for row in results.rows],
            differences=_differences(results),
            agreement=_agreement(results),
            compat=[
                {"source": visible(row.source), "figures": [_plain(row, name) for name in SHORT]}
                for row in results.rows
                if row.paper_compat
            ],
            columns=list(SHORT.values()),
            replies=[_replies(each) for each in results.replies],
            items=drawn[:SHOWN],
            first_way=visible(ways[0]) if len(ways) > 1 else "",
            n_items=len(drawn),
            checks=[_check(each) for each in results.checks],
            floor=floor_sentence(results.drift),
            drift=of_drift(results.drift) if results.drift else None,
            tested=tested,
            selftest=None if tested is None else of_selftest(tested),
            selftest_lines=[] if tested is None else _selftest(results),
            cost=[sentence for sentence in (plan_sentence(results.plan), cost_sentence(results)) if sentence],
            manifest=visible_json(results.manifest),
        )
    )


def _subtitle(results: AuditResults) -> str:
    asked = dict.fromkeys(f"{way(row)}, perturbed by: {row.operator} ({row.perturbed}, {row.belief})" for row in results.rows)
    rows = results.rows
    if several(rows):
        operators, beliefs = dict.fromkeys(row.operator for row in rows), dict.fromkeys(row.belief for row in rows)
        count = len({way(row) for row in rows})
        asked = dict.fromkeys([f"{count} ways of asking, perturbed by {', '.join(operators)}; f read from {', '.join(beliefs)}"])
    return visible(f"{'; '.join(asked)}; {results.n_items} items")


def _verdicts(results: AuditResults) -> list[dict[str, Any]]:
    """A card for every way of asking: the word, why, and the paired differences that it rests on."""
    first = results.rows[0] if results.rows else None
    groups = results.verdicts or (
        []
        if first is None
        else [
            GroupVerdict(
                elicitation=first.elicitation,
                order=first.order,
                persona=first.persona,
                verdict=results.verdict,
                reason=results.verdict_reason,
            )
        ]
    )
    axis = difference_axis(results.paired_differences, OTHERS)
    cards = []
    for group in groups:
        own = [row for row in results.rows if way(row) == way(group) and row.source == "self"]
        failed = max((row.n_failed for row in own), default=0)
        cards.append(
            {
                "name": visible(way(group)),
                "word": group.verdict,
                "class": CLASSES[group.verdict],
                "reason": visible(group.reason),
                "void": any(row.void for row in own),
                "of": f"{results.n_items} items" + (f", {failed} without an explanation" if failed else ""),
                "chart": of_differences(way(group), results.paired_differences, OTHERS, axis),
            }
        )
    return cards


def _source(row: AuditRow) -> dict[str, Any]:
    values = [row.metrics.get(name) for name in TITLES]
    return {
        "way": visible(way(row)),
        "operator": visible(row.operator),
        "source": visible(row.source),
        "n": f"{row.n} ({row.n_failed})" if row.n_failed else str(row.n),
        "void": row.void,
        "cells": [
            {"value": two(value.value), "title": f"[{two(value.low)}, {two(value.high)}], {value.n} items", "q": _q(value.q)}
            if isinstance(value, Metric)
            else {"value": "none", "title": visible(value.reason) if isinstance(value, Failure) else "not measured", "q": ""}
            for value in values
        ],
    }


def _q(value: float | None) -> str:
    return "" if value is None else f"q {value:.3f}"


def _differences(results: AuditResults) -> list[dict[str, str]]:
    """The model's own explanations against all others; those among the others only where the list stays short."""
    own = several(results.rows)
    return [
        {
            "way": visible(f"{way(each)}, {each.operator}") if own else "",
            "metric": TITLES.get(each.metric, each.metric),
            "pair": visible(f"{each.a} − {each.b}"),
            "value": f"{each.value:+.3f}",
            "interval": f"[{each.low:+.3f}, {each.high:+.3f}]",
            "n": str(each.n),
            "q": "none" if each.q is None else f"{each.q:.3f}",
        }
        for each in results.paired_differences
        if each.a == "self" or not own
    ]


def _agreement(results: AuditResults) -> list[dict[str, Any]]:
    """[pair] the seven measures, each with what the same values in random places have."""
    return [
        {
            "pair": visible(pair),
            "cells": [
                {"name": name.replace("_", " "), "value": "none", "random": ""}
                if isinstance(value, Failure)
                else {"name": name.replace("_", " "), "value": two(value.value), "random": two(value.random)}
                for name, value in measures.items()
            ],
        }
        for pair, measures in results.agreement.items()
    ]


def _plain(row: AuditRow, name: str) -> str:
    value, published = row.metrics.get(name), row.paper_compat.get(name)
    mine = f"{value.value:.3f}" if isinstance(value, Metric) else "none"
    return f"{published.value:.3f} of {published.n} ({mine})" if isinstance(published, Published) else f"none ({mine})"


def _replies(replies: Replies) -> dict[str, Any]:
    return {
        "name": visible(way(replies)),
        "n": replies.n,
        "parsed": replies.parsed,
        "share": f"{100 * replies.parsed / replies.n:.1f}" if replies.n else "0",
        "failed": _missing(replies.failed),
        "match": [replies.match.get(name, 0) for name in ("exact", "normalised", "merged", "split", "unmatched", "invented")],
        "accuracy": _share(replies.accuracy),
        "confidence": _share(replies.confidence),
    }


def _share(value: Value | Failure) -> dict[str, str]:
    if isinstance(value, Failure):
        return {"value": "none", "title": visible(value.reason)}
    return {"value": f"{value.value:.0%}", "title": f"[{value.low:.0%}, {value.high:.0%}], {value.n} items"}


def _missing(found: Sequence[Missing]) -> dict[str, Any]:
    """The commonest reasons, and how many more there are."""
    lines = [f"{each.n}: {each.stage}, {visible(each.reason)}" for each in sorted(found, key=lambda each: -each.n)]
    return {"lines": lines[:REASONS], "more": max(0, len(lines) - REASONS)}


def _check(check: CheckResult) -> dict[str, Any]:
    failed = next((value for value in check.figures.values() if isinstance(value, Failure)), None)
    none = all(isinstance(value, Failure) for value in check.figures.values())
    return {
        "name": visible(check_name(check)),
        "what": CHECKS.get(check.name, ""),
        "n": check.n,
        "n_failed": check.n_failed,
        "void": check.void,
        "chart": None if none else of_check(check),
        "counts": [f"{name}: {two(value.value)} [{two(value.low)}, {two(value.high)}]" for name, value in counted(check)],
        "why": visible(failed.reason) if none and failed is not None else "",
        "missing": _missing(check.missing),
        "records": [visible_json(record) for record in check.records[:RECORDS]],
        "n_records": len(check.records),
    }


def _selftest(results: AuditResults) -> list[str]:
    """What the planted predictor's exactly known attributions were recovered to."""
    found = results.selftest
    assert found is not None
    errors = (
        ("shapley", found.shapley_error, "{:.1e} log-odds from the exact values at most"),
        ("kernel-shap", found.kernel_shap_error, "{:.1e} log-odds from the exact values at most"),
        ("occlusion", found.occlusion_error, "{:.1e} log-odds from the planted weights at most"),
        ("lime", found.lime_correlation, "correlated {:.2f} with the exact values"),
    )
    return [f"{name}: " + (f"none ({value.reason})" if isinstance(value, Failure) else form.format(value)) for name, value, form in errors]
