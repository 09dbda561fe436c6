"""Formulas of confidence measures by weight: against the measures of the resampled items themselves, one draw after the other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import Failed
from evals.confidence.measures import measure
from evals.confidence.results import ConfidenceItem, ConfidenceResults, ItemAnswer, ItemDeletion
from evals.confidence.scoring import Scored, row
from evals.metrics import items_of, metrics_of
from evals.metrics.confidence import BETTER, FORMULAS
from evals.results import Calls, Failure, Tokens, Value, failure
from evals.run_folder import write_json, write_json_lines

PAIRS = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.85, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40)


@pytest.mark.parametrize("name", FORMULAS)
@given(pairs=PAIRS, seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_formula_of_weights_is_the_measure_of_the_resampled_items(name: str, pairs: list[tuple[float, bool]], seed: int) -> None:
    values = np.array(pairs, np.float64)
    drawn = np.random.default_rng(seed).integers(len(pairs), size=len(pairs))
    weights = np.stack([np.ones(len(pairs)), np.bincount(drawn, minlength=len(pairs))])
    found = FORMULAS[name](values)(weights)
    for at, places in enumerate((np.arange(len(pairs)), drawn)):
        # The same items twice as often have the same interval-free statistic, and two resamples are enough to have it said.
        expected = measure(values[places, 0], values[places, 1] > 0, seed=0, draws=2)[name]
        if isinstance(expected, Value):
            assert found[at] == pytest.approx(expected.value, abs=1e-9)
        elif "undefined in" not in expected.reason:
            assert np.ma.getmaskarray(found)[at]


def folder(path: Path, outcomes: list[Scored | Failed], deletions: list[ItemDeletion | Failed]) -> Path:
    """A measurement of confidence with one row, as the program writes it."""
    from evals.confidence.deletion import deletion

    way = ("vanilla", "none", "stated")
    results = ConfidenceResults(
        rows=[row(way, [Failed("x", "x")] * len(outcomes), outcomes, 1, seed=0)],
        deletion=deletion("vanilla", deletions, seed=0),
        replies=[],
        n_items=len(outcomes),
        n_without_gold=0,
        calls=Calls(made=0, cached=0),
        tokens=Tokens(prompt=0, completion=0),
        usd=0.0,
        manifest={},
    )
    results.rows[0].void = sum(isinstance(one, Failed) for one in outcomes) > 0.2 * len(outcomes)
    lines = []
    for number, (one, deleted) in enumerate(zip(outcomes, deletions, strict=True)):
        known: dict[str, Any] = {"failed": failure(one)} if isinstance(one, Failed) else vars(one)
        answer = ItemAnswer(prompting=way[0], sampling=way[1], aggregate=way[2], **known)
        gone = failure(deleted) if isinstance(deleted, Failed) else deleted
        lines.append(ConfidenceItem(number=number, text=f"text {number % 9}", gold="a", replies=[], answers=[answer], deletion=gone))
    path.mkdir()
    write_json(path / "manifest.json", {"format": 1, "command": "confidence"})
    write_json_lines(path / "items.jsonl", [line.model_dump(mode="json") for line in lines])
    write_json(path / "results.json", results.model_dump(mode="json"))
    return path


def outcomes(failed: int) -> tuple[list[Scored | Failed], list[ItemDeletion | Failed]]:
    rng = np.random.default_rng(1)
    scored: list[Scored | Failed] = [Scored("a", float(rng.choice([0.6, 0.8, 1.0])), bool(rng.random() < 0.7)) for _ in range(20)]
    scored[:failed] = [Failed("parse", "no answer")] * failed
    deletions: list[ItemDeletion | Failed] = [
        ItemDeletion(
            answer="a", words=["w"], whole=0.9, without=rng.random(), changed=False, random=rng.random(3).tolist(), changed_random=0.0
        )
        for _ in range(20)
    ]
    return scored, deletions


def test_items_give_every_measure_with_a_direction_again(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", *outcomes(failed=2))
    found, items = metrics_of(run), items_of(run)
    directed = {metric.key: metric for metric in found if metric.better}
    assert {metric.name for metric in directed.values()} == {*BETTER, "share_parsed", "difference"}
    assert directed.keys() <= items.keys()
    for key, metric in directed.items():
        assert isinstance(metric.value, Value)
        assert items[key].value == pytest.approx(metric.value.value)
        assert len(set(items[key].keys)) == len(items[key].keys) == metric.value.n
    (accuracy,) = (metric for metric in found if metric.name == "accuracy")
    assert (accuracy.of, accuracy.n_failed, accuracy.better) == ("vanilla none stated", 2, "higher")


def test_a_void_row_has_no_figures_but_says_how_many_items_are_left(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", *outcomes(failed=8))
    found = {(metric.name, metric.of): metric for metric in metrics_of(run)}
    assert isinstance(found["ece", "vanilla none stated"].value, Failure)
    share = found["share_parsed", "vanilla none stated"].value
    assert isinstance(share, Value)
    assert share.value == pytest.approx(12 / 20)
    assert ("", "ece", "vanilla none stated") not in items_of(run)
