"""Run folders held against each other: verdicts, thresholds, what is missing or failed, and what else changed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import false_discovery_control

from analyzers.errors import RunFolderError
from evals.comparison import Comparison, Threshold, compare
from evals.comparison.compare import MOST_DRAWS, draws_for
from evals.results import Calls, Failure, LeakAudit, Lift, RunResults, SiteResult, Tokens, Value
from evals.run_folder import write_json
from evals.statistics import mean

RNG = np.random.default_rng(1)
SITES = [f"L{at // 8}.mlp.{at}" for at in range(30)]
GOOD = RNG.normal(0.5, 0.2, 30)
MANIFEST: dict[str, Any] = {
    "version": "1",
    "code": "abc",
    "subject": {"name": "s", "revision": "r1"},
    "prompts": {"explainer": "p1", "simulator": "p2"},
    "config": {"n": 3, "limits": None, "layers": [1, 2]},
    "pass": "xyz",
}


def labels(path: Path, pearson: Sequence[float | None], lift: Sequence[float] | None = None, **changes: Any) -> Path:
    """A labelling run with these scores; None: the site failed. changes: of the manifest, and `void`."""
    failed = Failure(stage="explain", reason="refused")
    lifts = GOOD if lift is None else lift

    def value(number: float) -> Value:
        return Value(value=number, low=number - 0.1, high=number + 0.1, n=500)

    sites = [
        SiteResult(
            site=name,
            polarity="+",
            explanation="x",
            explainer="e",
            simulator="s",
            scores={"pearson": failed if score is None else value(score)},
            lift=failed if score is None else Lift(**value(gain).model_dump(), over="lexical", score="pearson"),
        )
        for name, score, gain in zip(SITES, pearson, lifts, strict=True)
    ]
    known = [(score, gain) for score, gain in zip(pearson, lifts, strict=True) if score is not None]
    means = {name: mean([pair[at] for pair in known], seed=0) for at, name in enumerate(("pearson", "lift"))}
    results = RunResults(
        sites=sites,
        n_scored=len(known),
        n_failed=len(sites) - len(known),
        void=changes.pop("void", False),
        calls=Calls(made=0, cached=0),
        tokens=Tokens(prompt=0, completion=0),
        usd=0.0,
        leak_audit=LeakAudit(passed=True, checked=0, largest_overlap=0.0),
        instrument=None,
        means={name: value for name, value in means.items() if isinstance(value, Value)},
        manifest={},
    )
    path.mkdir(parents=True)
    write_json(path / "manifest.json", {"format": 1, "command": "label", **MANIFEST, **changes})
    write_json(path / "results.json", results.model_dump(mode="json"))
    (path / "explanations.jsonl").touch()
    return path


def suite(path: Path, tasks: Mapping[str, str], **manifest: Any) -> Path:
    """tasks: status by name; those that are done lie under tasks/ already."""
    path.mkdir(exist_ok=True)
    write_json(path / "manifest.json", {"format": 1, "command": "suite", "code": "abc", **manifest})
    rows = [{"name": name, "folder": f"tasks/{name}", "status": status} for name, status in tasks.items()]
    write_json(path / "results.json", {"name": "nightly", "tasks": rows})
    return path


def verdicts(found: Comparison) -> dict[str, str]:
    return {change.name: change.verdict for change in found.changes}


WORSE = (GOOD - np.abs(RNG.normal(0.1, 0.03, 30))).tolist()


def test_a_drop_beyond_its_noise_is_a_regression_and_a_rise_none(tmp_path: Path) -> None:
    good, worse = labels(tmp_path / "good", GOOD.tolist()), labels(tmp_path / "worse", WORSE)
    found = compare(worse, good)
    assert verdicts(found) == {"pearson": "regressed", "lift": "unchanged", "share_scored": "unchanged"}
    (change,) = found.regressed
    assert isinstance(change.difference, Value)
    assert change.difference.value == pytest.approx(np.mean(WORSE) - GOOD.mean())
    assert (change.paired, change.n_before, change.n_after, change.difference.n) == (True, 30, 30, 30)
    back = compare(good, worse)
    assert [change.name for change in back.improved] == ["pearson"]
    assert not back.regressed


def test_the_table_of_a_run_with_itself_is_calm(tmp_path: Path) -> None:
    run = labels(tmp_path / "run", GOOD.tolist())
    found = compare(run, run)
    assert set(verdicts(found).values()) == {"unchanged"}
    assert (found.provenance, found.missing, found.new) == ([], [], [])


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ({"pearson": Threshold(minimum_effect=0.5)}, "unchanged"),
        ({"pears*": Threshold(minimum_effect=0.5)}, "unchanged"),
        ({"pears*": Threshold(minimum_effect=0.05)}, "regressed"),
        ({"*": Threshold(minimum_effect=0.5), "pearson": Threshold()}, "regressed"),
        ({"pearson": Threshold(watch=False)}, "not watched"),
        ({"lift": Threshold(watch=False)}, "regressed"),
    ],
)
def test_thresholds_are_found_by_name_before_pattern(thresholds: dict[str, Threshold], expected: str, tmp_path: Path) -> None:
    good, worse = labels(tmp_path / "good", GOOD.tolist()), labels(tmp_path / "worse", WORSE)
    assert verdicts(compare(worse, good, thresholds=thresholds))["pearson"] == expected


def test_a_threshold_takes_nothing_else() -> None:
    for wrong in ({"minimum_effect": -0.1}, {"minimum_effect": float("nan")}, {"minimum": 0.1}):
        with pytest.raises(ValidationError):
            Threshold(**wrong)  # type: ignore[arg-type]


def test_q_is_benjamini_hochbergs_over_what_is_watched(tmp_path: Path) -> None:
    good = labels(tmp_path / "good", GOOD.tolist())
    other = labels(tmp_path / "other", (GOOD + RNG.normal(0.04, 0.1, 30)).tolist(), (GOOD + RNG.normal(0.02, 0.1, 30)).tolist())
    tested = [change for change in compare(other, good).changes if change.p is not None]
    assert len(tested) == 3
    assert [change.q for change in tested] == pytest.approx(false_discovery_control([change.p for change in tested]).tolist())
    watched = compare(other, good, thresholds={"share_scored": Threshold(watch=False)}).changes
    alone = [change for change in watched if change.q is not None]
    assert [change.name for change in alone] == ["pearson", "lift"]
    assert [change.q for change in alone] == pytest.approx(false_discovery_control([change.p for change in alone]).tolist())


@given(alpha=st.floats(0.01, 0.5), size=st.integers(1, 190))
@settings(max_examples=30, deadline=None)
def test_there_are_draws_enough_for_one_of_many_to_be_found(alpha: float, size: int) -> None:
    smallest = 1 / (1 + draws_for(size, alpha, 1))
    assert false_discovery_control([smallest, *[1.0] * (size - 1)])[0] < alpha


def test_draws_are_never_endless() -> None:
    assert draws_for(1000, 1e-9, 2000) == draws_for(10**6, 0.05, 1) == MOST_DRAWS


def test_what_failed_is_never_a_number(tmp_path: Path) -> None:
    good, void = labels(tmp_path / "good", GOOD.tolist()), labels(tmp_path / "void", [*GOOD[:5].tolist(), *[None] * 25], void=True)
    found = compare(void, good)
    assert verdicts(found) == {"pearson": "failed", "lift": "failed", "share_scored": "regressed"}
    for change in found.failed:
        assert isinstance(change.after, Failure)
        assert isinstance(change.difference, Failure)
        assert change.p is None
        assert change.q is None
        assert change.n_after == 0
    assert [change.name for change in found.regressed] == ["share_scored"]
    assert verdicts(compare(good, void)) == {"pearson": "recovered", "lift": "recovered", "share_scored": "improved"}
    assert verdicts(compare(void, void))["pearson"] == "not comparable"
    assert "NaN" not in found.model_dump_json()
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_metrics_that_are_gone_or_new_are_named(tmp_path: Path) -> None:
    good, worse = labels(tmp_path / "good", GOOD.tolist()), labels(tmp_path / "worse", WORSE)
    results = json.loads((worse / "results.json").read_text("utf-8"))
    results["means"]["r2_centred"] = results["means"].pop("lift")
    write_json(worse / "results.json", results)
    found = compare(worse, good)
    assert [key.name for key in found.missing] == ["lift"]
    assert [key.name for key in found.new] == ["r2_centred"]
    assert "lift" not in verdicts(found)


def test_prompts_revisions_code_and_configuration_that_changed_are_named(tmp_path: Path) -> None:
    good = labels(tmp_path / "good", GOOD.tolist())
    other = labels(
        tmp_path / "other",
        GOOD.tolist(),
        code="def",
        subject={"name": "s", "revision": "r2"},
        prompts={"explainer": "p1", "simulator": "p3"},
        config={"n": 4, "limits": None, "layers": [1, 3], "seed": 7},
        **{"pass": "another"},
    )
    found = {change.what: (change.before, change.after) for change in compare(other, good).provenance}
    assert found == {
        "code": ("abc", "def"),
        "subject.revision": ("r1", "r2"),
        "prompts.simulator": ("p2", "p3"),
        "config.n": ("3", "4"),
        "config.layers": ("1, 2", "1, 3"),
        "config.seed": ("", "7"),
    }


def test_other_items_are_named_and_not_paired(tmp_path: Path) -> None:
    good = labels(tmp_path / "good", GOOD.tolist())
    other = labels(tmp_path / "other", GOOD.tolist())
    results = json.loads((other / "results.json").read_text("utf-8"))
    for site in results["sites"][:25]:
        site["site"] = site["site"].replace("mlp.", "mlp.9")
    write_json(other / "results.json", results)
    found = compare(other, good)
    assert [(change.what, change.before, change.after) for change in found.provenance] == [("items", "30", "30, of which 5 are the same")]
    assert not any(change.paired for change in found.changes)


def test_a_suite_is_compared_task_by_task_and_says_once_what_changed_in_all(tmp_path: Path) -> None:
    runs = {}
    for name, scores, code in (("before", GOOD.tolist(), "abc"), ("after", WORSE, "def")):
        folder = tmp_path / name
        labels(folder / "tasks" / "a", GOOD.tolist(), code=code)
        labels(folder / "tasks" / "b", scores, code=code, prompts={"explainer": code})
        runs[name] = suite(folder, {"a": "done", "b": "done", "c": "failed"}, code=code, config={"name": "nightly", "tasks": [code]})
    found = compare(runs["after"], runs["before"])
    assert found.suite == "nightly"
    assert [(change.task, change.name) for change in found.regressed] == [("b", "pearson")]
    assert [(change.task, change.what) for change in found.provenance] == [("", "code"), ("b", "prompts.explainer")]
    assert len([change for change in found.changes if change.q is not None]) == 6
    suite(tmp_path / "after", {"a": "done", "b": "failed"})
    (tmp_path / "after" / "tasks" / "b" / "results.json").unlink()
    lost = compare(runs["after"], runs["before"])
    assert {(key.task, key.name) for key in lost.missing} == {("b", "pearson"), ("b", "lift"), ("b", "share_scored")}


def test_runs_of_two_kinds_are_refused(tmp_path: Path) -> None:
    run, other = labels(tmp_path / "run", GOOD.tolist()), suite(tmp_path / "suite", {})
    with pytest.raises(RunFolderError, match=r"label.*suite"):
        compare(run, other)
