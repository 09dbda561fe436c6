"""Runs on a tiny model, and what follows from planted attention; with a real model the shapes of the paper."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from analyzers.errors import ExplicateError
from analyzers.icl.answers import Answers
from evals.icl.analyses.flow import foretelling
from evals.icl.config import IclConfig
from evals.icl.drawing import Drawn
from evals.icl.results import IclResults
from evals.icl.run import run_icl
from evals.icl.setting import Case, Setting
from evals.icl.task import IclItem
from evals.results import Failure, Value

Checkpoint = Callable[[str], Path]


@pytest.fixture
def config(tiny_checkpoint: Checkpoint) -> IclConfig:
    return IclConfig(str(tiny_checkpoint("llama")), "sentiment", n=6, seeds=2, dtype="float32", device="cpu")


def value(found: Value | Failure) -> Value:
    assert isinstance(found, Value), found
    return found


def test_every_figure_has_its_interval_over_items_and_shares_sum_to_one(config: IclConfig) -> None:
    told: list[tuple[str, int, int]] = []
    found = run_icl(config, report=lambda *what: told.append(what))
    assert IclResults.model_validate_json(found.model_dump_json()) == found
    assert (found.items, found.seeds, found.shots, set(found.analyses)) == (6, 2, 1, {"flow", "isolate"})
    assert sum(found.chosen.values()) == pytest.approx(1)
    assert {name for name, done, total in told if total and done == total} >= {"answer prompts", "saliency flow", "attention to labels"}
    flow = found.analyses["flow"]
    for kinds in (("wp", "pq", "ww"), ("wp_by_head", "pq_by_head", "ww_by_head")):
        curves = [[value(each) for each in flow.curves[kind].values] for kind in kinds]
        for layer in range(3):
            assert sum(curve[layer].value for curve in curves) == pytest.approx(1)
            assert all(0 <= curve[layer].low <= curve[layer].value <= curve[layer].high <= 1 for curve in curves)
            assert {curve[layer].n for curve in curves} == {12}
    # In the last layer only the last position's attention has a gradient.
    assert value(flow.curves["wp"].values[-1]).value == 0
    assert value(flow.curves["ww"].values[-1]).value > 0
    # What labels gather in the last layer nobody reads.
    isolate = found.analyses["isolate"].figures
    assert value(isolate["label_loyalty/labels/last"]).value == value(isolate["word_loyalty/labels/last"]).value == 1
    assert value(isolate["word_loyalty/labels/first"]).value < 1
    difference = value(isolate["word_loyalty/labels/last_minus_first"]).value
    assert difference == pytest.approx(1 - value(isolate["word_loyalty/labels/first"]).value)
    assert run_icl(config) == found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"analyses": ("flw",)}, "no analysis is called 'flw'; choose one of .*flow, isolate"),
        ({"analyses": ()}, "names no analysis"),
        ({"shots": 0}, "no demonstrations.*--shots 1"),
        ({"seeds": 0}, "--seeds 1"),
        ({"shots": 39}, "there are 38 items of the label"),
        ({"task": "trec"}, "give --items"),
        ({"task": "sst2"}, "give --items"),
        ({"shots": 18}, r"takes 1024; .*--shots"),
    ],
)
def test_what_the_user_can_mend_is_told(config: IclConfig, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ExplicateError, match=told):
        run_icl(IclConfig(**{**vars(config), **changes}))


def test_labels_that_share_their_first_token_and_attention_that_cannot_be_changed(
    config: IclConfig, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "items.all").write_text("".join(f"{number % 2} text {number}\n" for number in range(20)), "utf-8")
    with pytest.raises(ExplicateError, match="'Negative' and 'Positive' begin with the same token"):
        run_icl(IclConfig(**{**vars(config), "task": "sst2", "items": str(tmp_path / "items.all")}))
    for family in ("bloom", "falcon", "gptj", "gpt_neo"):
        with pytest.raises(ExplicateError, match="cannot be masked or changed"):
            run_icl(IclConfig(**{**vars(config), "model": str(tiny_checkpoint(family))}))


def planted(attention: np.ndarray[Any, Any], chosen: list[int]) -> Setting:
    """Of a model that chose these classes of its items."""
    items = [IclItem(number, f"text {number}", 0) for number in range(len(chosen))]
    answers = Answers(np.eye(attention.shape[2])[chosen], np.ones(len(chosen)), np.zeros((len(chosen), 5), np.int64))
    cases = tuple(Case(item, 0, cast(Any, None)) for item in items)
    drawn = Drawn(tuple(items), ((),), ((),))
    return Setting(cast(Any, None), cast(Any, None), drawn, cases, answers, 0, lambda *_: None)


def test_attention_that_foretells_in_one_layer_alone_has_all_of_the_excess() -> None:
    rng = np.random.default_rng(0)
    chosen = [int(each) for each in rng.integers(0, 3, 60)]
    attention = np.ones((60, 4, 3))
    attention[np.arange(60), 2, chosen] = 5.0
    found = foretelling(attention, planted(attention, chosen))
    assert [value(each).value for each in found.curves["auroc"].values] == pytest.approx([0.5, 0.5, 1, 0.5])
    assert [value(each).value for each in found.curves["cumulated"].values] == pytest.approx([0, 0, 1, 1])
    assert value(found.figures["auroc_late"]).value == pytest.approx(0.5)


def test_attention_that_foretells_nothing_has_no_excess_to_share_out() -> None:
    chosen = [0, 1] * 20
    attention = np.ones((40, 3, 2))
    found = foretelling(attention, planted(attention, chosen))
    assert all(isinstance(each, Failure) for each in found.curves["cumulated"].values)
    assert [value(each).value for each in found.curves["auroc"].values] == [0.5] * 3
    one = foretelling(attention, planted(attention, [0] * 40))
    assert all(isinstance(each, Failure) for each in one.curves["auroc"].values)


@pytest.mark.slow
@pytest.mark.replication
@pytest.mark.skipif("EXPLICATE_REPLICATION" not in os.environ, reason="EXPLICATE_REPLICATION does not name the folder of published data")
@pytest.mark.parametrize(("task", "file"), [("trec", "trec/TREC.train.all"), ("sst2", "sst2/stsa.binary.train")])
def test_the_papers_shapes(task: str, file: str) -> None:
    """Wang et al. 2023, figures 3 and 4: labels gather early and the answer takes from them late; isolating labels costs in the first
    layers and not in the last, and costs more than isolating as many other tokens."""
    items = str(Path(os.environ["EXPLICATE_REPLICATION"]) / file)
    found = run_icl(IclConfig("smollm2-135m", task, items=items, n=16, seeds=2, device="cpu"))
    flow, isolate = found.analyses["flow"], found.analyses["isolate"].figures
    for name in ("wp_early_minus_late", "pq_late_minus_early", "pq_minus_wp_late", "pq_minus_ww_late"):
        assert value(flow.figures[name]).low > 0.2
    for form in ("", "_by_head"):
        wp, pq = ([value(each).value for each in flow.curves[f"{kind}{form}"].values] for kind in ("wp", "pq"))
        assert max(wp[:10]) > 0.5
        assert min(pq[-5:]) > 0.5
    for name in ("word_loyalty/labels/last_minus_first", "word_loyalty/first/random_minus_labels"):
        assert value(isolate[name]).low > 0.2
    assert value(isolate["label_loyalty/labels/last"]).value > 0.9
    assert not math.isclose(value(isolate["word_loyalty/labels/last"]).value, 1)
