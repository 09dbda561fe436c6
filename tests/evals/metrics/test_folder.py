"""Metrics of run folders of all kinds: against results.json and hand counts, and folders that are not whole."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import RunFolderError
from evals.audit.faithfulness import BETTER
from evals.audit.replay import replay
from evals.audit.results import AuditResults, CheckResult, Replies
from evals.metrics import Metric, items_of, kind_of, metrics_of
from evals.metrics.audit import BETTER_FIGURE
from evals.results import Calls, Failure, LeakAudit, Lift, RunResults, SiteResult, Tokens, Value
from evals.run_folder import read_results, write_json
from evals.statistics import mean

WORDS = {"great": 0.2, "dull": -0.15, "film": -0.02, "plot": 0.01, "superb": 0.25, "the": 0.0, "awful": -0.22}
SENTENCES = ["the superb film", "the awful dull plot", "the great plot", "dull film superb great", "awful great the"]
SAID = "self attribution delete"


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """The replay of a planted model that adds up words and names their weights."""
    rows: dict[str, dict[str, Any]] = {}
    for sentence in SENTENCES:
        words = sentence.split(" ")
        for size in range(1, len(words) + 1):
            for kept in combinations(words, size):
                p = min(0.99, max(0.01, 0.5 + sum(WORDS[word] for word in kept)))
                rows.setdefault(" ".join(kept), {"text": " ".join(kept), "label": int(p >= 0.5), "confidence": max(p, 1 - p)})
        rows[sentence]["explanation"] = [[word, WORDS[word]] for word in words]
    path = tmp_path / "recorded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    replay(path, tmp_path / "audit", seed=0)
    return tmp_path / "audit"


def labels(path: Path, scores: Mapping[str, tuple[float, float] | None], void: bool = False, leaks: bool = False) -> Path:
    """A labelling run; scores: by site, Pearson and lift, or that it failed."""
    failed = Failure(stage="explain", reason="refused")

    def value(number: float) -> Value:
        return Value(value=number, low=number - 0.1, high=number + 0.1, n=500)

    sites = [
        SiteResult(
            site=name[:-1],
            polarity="-" if name.endswith("-") else "+",
            explanation="x",
            explainer="e",
            simulator="s",
            scores={"pearson": failed if found is None else value(found[0])},
            lift=failed if found is None else Lift(**value(found[1]).model_dump(), over="lexical", score="pearson"),
        )
        for name, found in scores.items()
    ]
    known = [found for found in scores.values() if found is not None]
    means = {name: mean([found[at] for found in known], seed=0) for at, name in enumerate(("pearson", "lift"))}
    results = RunResults(
        sites=sites,
        n_scored=len(known),
        n_failed=len(sites) - len(known),
        void=void,
        calls=Calls(made=0, cached=0),
        tokens=Tokens(prompt=0, completion=0),
        usd=0.0,
        leak_audit=LeakAudit(passed=not leaks, checked=0, largest_overlap=0.0),
        instrument=None,
        means={name: value for name, value in means.items() if isinstance(value, Value)},
        manifest={},
    )
    path.mkdir(parents=True)
    write_json(path / "manifest.json", {"format": 1, "command": "label"})
    write_json(path / "results.json", results.model_dump(mode="json"))
    (path / "explanations.jsonl").touch()
    return path


SCORES: dict[str, tuple[float, float] | None] = {
    "L0.mlp.1+": (0.4, 0.1),
    "L0.mlp.1-": (0.6, -0.1),
    "L1.mlp.2+": None,
    "L1.mlp.3+": (0.2, 0.3),
}


def suite(path: Path, tasks: Sequence[tuple[str, str, str]]) -> Path:
    """tasks: name, folder, status."""
    path.mkdir(exist_ok=True)
    write_json(path / "manifest.json", {"format": 1, "command": "suite"})
    rows = [{"name": name, "folder": folder, "status": status} for name, folder, status in tasks]
    write_json(path / "results.json", {"name": "nightly", "tasks": rows})
    return path


def by_name(found: Sequence[Metric]) -> dict[tuple[str, str], Metric]:
    assert len({metric.key for metric in found}) == len(found)
    return {(metric.name, metric.of): metric for metric in found}


def test_labels_are_means_over_sites_and_the_share_that_was_scored(tmp_path: Path) -> None:
    run = labels(tmp_path / "run", SCORES)
    found, items = by_name(metrics_of(run)), items_of(run)
    assert found.keys() == {("pearson", ""), ("lift", ""), ("share_scored", "")}
    pearson, share = found["pearson", ""], found["share_scored", ""].value
    assert isinstance(pearson.value, Value)
    assert isinstance(share, Value)
    assert (pearson.value.value, pearson.value.n, pearson.n_failed, pearson.better) == (pytest.approx(0.4), 3, 1, "higher")
    assert share.value == pytest.approx(0.75)
    pairs = dict(zip(items["", "lift", ""].keys, items["", "lift", ""].values[:, 0].tolist(), strict=True))
    assert pairs == {"L0.mlp.1+": 0.1, "L0.mlp.1-": -0.1, "L1.mlp.3+": 0.3}


@pytest.mark.parametrize("why", ["void", "leaks"])
def test_means_of_a_run_that_is_not_to_be_used_are_failures(tmp_path: Path, why: str) -> None:
    run = labels(tmp_path / "run", SCORES, **{why: True})
    found = by_name(metrics_of(run))
    assert isinstance(found["pearson", ""].value, Failure)
    assert isinstance(found["share_scored", ""].value, Value)
    assert items_of(run).keys() == {("", "share_scored", "")}


def test_an_audit_has_its_metrics_and_where_they_lie_between_chance_and_best(audit: Path) -> None:
    found, items = by_name(metrics_of(audit)), items_of(audit)
    row = next(row for row in read_results(audit, AuditResults).rows if row.source == "self")
    for name, stated in row.metrics.items():
        assert not isinstance(stated, Failure)
        metric, placed = found[name, SAID], found[f"{name}_normalised", SAID]
        assert isinstance(metric.value, Value)
        assert (metric.value.value, metric.value.low, metric.value.high) == (stated.value, stated.low, stated.high)
        assert metric.better == {1: "higher", -1: "lower"}[BETTER[name]]  # type: ignore[index]
        assert (placed.value, placed.better) == (stated.normalised, "higher")
        assert items["", name, SAID].values[:, 0].mean() == pytest.approx(stated.value)
        assert not found[name, SAID.replace("self", "occlusion")].better
    assert not any("random" in metric.of for metric in found.values())
    assert not any(name.endswith("_normalised") for _, name, _ in items)


def test_items_of_a_recording_are_in_the_one_order_that_it_has(audit: Path) -> None:
    results = json.loads((audit / "results.json").read_text("utf-8"))
    for row in results["rows"]:
        row["order"] = "explain-first"
    write_json(audit / "results.json", results)
    assert ("", "comprehensiveness", "self attribution explain-first delete") in items_of(audit)


def test_a_void_row_is_a_failure_and_gives_no_items(audit: Path) -> None:
    results = json.loads((audit / "results.json").read_text("utf-8"))
    results["rows"][0]["void"] = True
    write_json(audit / "results.json", results)
    found = by_name(metrics_of(audit))
    assert isinstance(found["comprehensiveness", SAID].value, Failure)
    assert isinstance(found["comprehensiveness_normalised", SAID].value, Failure)
    assert isinstance(found["comprehensiveness", SAID.replace("self", "occlusion")].value, Value)
    assert ("", "comprehensiveness", SAID) not in items_of(audit)


def test_items_that_do_not_give_the_number_again_are_not_used(audit: Path) -> None:
    lines = [json.loads(line) for line in (audit / "items.jsonl").read_text("utf-8").split("\n") if line]
    lines[0]["metrics"]["self"]["sufficiency"] += 0.01
    (audit / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    items = items_of(audit)
    assert ("", "sufficiency", SAID) not in items
    assert ("", "comprehensiveness", SAID) in items


def test_replies_and_checks_of_an_audit(audit: Path) -> None:
    """Accuracy and the share that was parsed by way of asking, an item that failed as a whole among those that were not."""
    results = read_results(audit, AuditResults)
    lines = [json.loads(line) for line in (audit / "items.jsonl").read_text("utf-8").split("\n") if line]
    for at, line in enumerate(lines):
        line |= {
            "order": "predict-first",
            "gold": "1",
            "match": {"exact": 3} if at else {},
            "answer": {"label": str(at % 2), "confidence": 1.0},
        }
    lines.append(
        lines[0] | {"text": "another", "elicitation": "", "order": "", "operator": "", "answer": {"stage": "item", "reason": "short"}}
    )
    (audit / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    n, right = len(lines), sum(at % 2 for at in range(len(lines) - 1))
    accuracy = mean([1.0] * right + [0.0] * (n - right), seed=0)
    assert isinstance(accuracy, Value)
    replies = Replies(
        elicitation="attribution",
        order="predict-first",
        n=n,
        parsed=n - 2,
        failed=[],
        match={},
        accuracy=accuracy,
        confidence=Failure(stage="score", reason="no items"),
    )
    thoughts = [{"text": f"t{at}", "answer": "a", "answer_altered": "ab"[at % 2], "f": 0.9, "f_altered": 0.9 - at / 10} for at in range(4)]
    figures = [{"text": f"t{at}", "figures": {"drop_delete": at / 10, "share_claimed": 0.5}} for at in range(4)]
    swayed = [{"text": f"t{at}", "suggested": "b", "answer_suggested": "ab"[at % 2], "admitted": at == 1} for at in range(4)]
    value = {
        name: mean(values, seed=0)
        for name, values in {
            "same_answer": [1, 0, 1, 0],
            "drop": [0, 0.1, 0.2, 0.3],
            "drop_delete": [0, 0.1, 0.2, 0.3],
            "share_claimed": [0.5] * 4,
            "unfaithful": [0, 0, 0, 1],
            "followed": [0, 1, 0, 1],
        }.items()
    }

    def check(name: str, names: Sequence[str], records: Sequence[dict[str, Any]], **rest: Any) -> CheckResult:
        return CheckResult(name=name, figures={each: value[each] for each in names}, n=4, n_failed=1, records=list(records), **rest)  # type: ignore[arg-type, misc]

    checks = [
        check("filler", ("same_answer", "drop"), thoughts),
        check("claims", ("drop_delete", "share_claimed"), figures, order="explain-first", persona="human"),
        check("suggestion", ("unfaithful", "followed"), swayed),
        check("paraphrase", ("drop",), thoughts, void=True),
    ]
    changed = results.model_copy(update={"replies": [replies], "checks": checks})
    write_json(audit / "results.json", changed.model_dump(mode="json"))
    found, items = by_name(metrics_of(audit)), items_of(audit)
    share = found["share_parsed", "attribution predict-first"].value
    assert isinstance(share, Value)
    assert share.value == pytest.approx((n - 2) / n)
    for name in ("share_parsed", "accuracy"):
        assert len(items["", name, "attribution predict-first"].keys) == n
    assert items["", "accuracy", "attribution predict-first"].value == pytest.approx(right / n)
    assert items["", "drop_delete", "claims explain-first human"].values[:, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert items["", "same_answer", "filler"].values[:, 0].tolist() == [1, 0, 1, 0]
    assert items["", "unfaithful", "suggestion"].values[:, 0].tolist() == [0, 0, 0, 1]
    assert (found["same_answer", "filler"].better, found["share_claimed", "claims explain-first human"].better) == ("lower", "")
    assert isinstance(found["drop", "paraphrase"].value, Failure)


def test_every_check_that_is_said_to_have_a_direction_exists() -> None:
    from evals.audit.checks import CHECKS

    assert set(BETTER_FIGURE) <= set(CHECKS.all())


def test_a_suite_has_the_metrics_of_its_tasks_by_their_names(tmp_path: Path, audit: Path) -> None:
    run = suite(tmp_path, [("faith", "audit", "done"), ("names", "tasks/l", "done"), ("gone", "tasks/none", "failed")])
    labels(tmp_path / "tasks" / "l", SCORES)
    assert kind_of(run) == "suite"
    found = metrics_of(run)
    assert {metric.task for metric in found} == {"faith", "names"}
    assert [(m.name, m.of, m.value) for m in found if m.task == "faith"] == [(m.name, m.of, m.value) for m in metrics_of(audit)]
    assert {task for task, _, _ in items_of(run)} == {"faith", "names"}


def test_a_folder_that_is_none_or_not_whole_is_named(tmp_path: Path, audit: Path) -> None:
    for folder, gone in ((audit, "items.jsonl"), (audit, "results.json"), (labels(tmp_path / "l", SCORES), "explanations.jsonl")):
        moved = folder / gone
        text = moved.read_bytes()
        moved.unlink()
        for read in (metrics_of, items_of):
            with pytest.raises(RunFolderError, match=f"{folder.name}.*{gone}"):
                read(folder)
        moved.write_bytes(text)
        assert metrics_of(folder)
    (audit / "items.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"items\.jsonl"):
        items_of(audit)
    with pytest.raises(RunFolderError, match="no run folder"):
        metrics_of(tmp_path / "nowhere")
    write_json(tmp_path / "l" / "manifest.json", {"format": 1, "command": "sample"})
    with pytest.raises(RunFolderError, match=r"sample.*label, audit, confidence, suite"):
        metrics_of(tmp_path / "l")
    with pytest.raises(RunFolderError, match="outside"):
        metrics_of(suite(tmp_path / "suite", [("evil", "../audit", "done")]))
    with pytest.raises(RunFolderError, match=r"no manifest\.json"):
        metrics_of(suite(tmp_path / "suite", [("gone", "tasks/gone", "done")]))
