"""Runs on a tiny model, and what follows from planted attention; with a real model the shapes of the paper."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analyzers.errors import ExplicateError, SubjectError
from analyzers.icl.answers import Answers
from analyzers.icl.prompts import Template
from analyzers.text_model import TextModel
from evals.icl.analyses.flow import foretelling
from evals.icl.asking import asked_behind
from evals.icl.config import IclConfig
from evals.icl.drawing import Drawn
from evals.icl.results import Analysis, IclResults
from evals.icl.run import prepared, run_icl
from evals.icl.saving import save_context
from evals.icl.setting import Case, Setting
from evals.icl.task import IclItem, IclTask
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
    for loyalty in ("label_loyalty", "word_loyalty"):
        first, last = (
            value(isolate[f"{loyalty}/labels/{where}"]).value - value(isolate[f"{loyalty}/random/{where}"]).value
            for where in ("first", "last")
        )
        assert value(isolate[f"{loyalty}/last_minus_first/labels_minus_random"]).value == pytest.approx(last - first)
    assert value(isolate["word_loyalty/last_minus_first/labels_minus_random"]).value != difference
    assert sum(found.asked.values()) == 6
    assert found.asked.keys() == found.chosen.keys()
    assert run_icl(config) == found


def test_more_items_than_there_are_is_told(config: IclConfig) -> None:
    """Of 38 reviews of each kind two are kept for the draws."""
    for n, notes in ((500, 1), (72, 0), (0, 0)):
        found = run_icl(IclConfig(**{**vars(config), "n": n, "analyses": ("isolate",)}))
        assert (found.items, len(found.notes)) == (72, notes)
        assert all("--n 500 asks for more than there are: of 76 items 72 are asked about" in note for note in found.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float31"},
        {"device": "no-device"},
        {"task": "untold.toml"},
        {"task": "no-form.toml"},
        {"shots": 39},
        {"items": "no-file.csv"},
    ],
)
def test_what_is_wrong_is_told_before_the_model_is_loaded(
    config: IclConfig, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.all").write_text("".join(f"{label} text {number}\n" for number in range(9) for label in ("yes", "no")), "utf-8")
    rest = 'labels = ["yes", "no"]\nitems = "items.all"\n'
    (tmp_path / "untold.toml").write_text(rest, "utf-8")
    (tmp_path / "no-form.toml").write_text('template = "no places"\n' + rest, "utf-8")

    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(TextModel, "load", loaded)
    for work in (run_icl, lambda wrong: save_context(wrong, tmp_path / "context.safetensors")):
        with pytest.raises(ExplicateError):
            work(IclConfig(**{**vars(config), **changes}))
    with pytest.raises(AssertionError, match="the model is loaded"):
        run_icl(config)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"analyses": ("flw",)}, "no analysis is called 'flw'; choose one of .*flow, isolate"),
        ({"analyses": ()}, "names no analysis"),
        ({"shots": 0}, "no demonstrations.*--shots 1"),
        ({"seeds": 0}, "--seeds 1"),
        ({"shots": 39}, "the label .* has 38 items, and 39 of each are shown"),
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


SPACED = IclTask("spaced", "{text} is the:{label} ", ("Negative", "Positive"), (), "made-up", 0)
"""Its last space is of the token of the next word, but by itself before a digit."""


def spaced(texts: list[str]) -> Drawn:
    shown = (IclItem(90, "it", 0), IclItem(91, "a", 1))
    return Drawn(tuple(IclItem(number, text, number % 2) for number, text in enumerate(texts)), (shown,), ((),))


def test_queries_that_change_how_the_demonstrations_are_read_are_refused(tiny_model: Callable[..., tuple[Any, Any]]) -> None:
    model = TextModel(*tiny_model("llama"), name="tiny", identity={})
    with pytest.raises(SubjectError, match=r"'1 it is the:' behind them; end the template .* words before \{text\}"):
        prepared(model, SPACED, spaced(["it", "a", "1 it"]))
    # What further items are asked behind must be the same, too.
    setting = prepared(model, SPACED, spaced(["it", "a"]))
    assert len(asked_behind(setting, 0, [IclItem(7, "it", 0)])) == 1
    with pytest.raises(SubjectError, match="'1 it is the:' behind them"):
        asked_behind(setting, 0, [IclItem(8, "1 it", 0)])


def test_an_analysis_that_cannot_be_made_leaves_the_others(config: IclConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise SubjectError("its contexts cannot be compressed")

    monkeypatch.setattr("analyzers.icl.compression.check_compressible", refused)
    found = run_icl(IclConfig(**{**vars(config), "analyses": ("isolate", "compress", "prune")}))
    assert found.analyses["isolate"].figures
    assert found.analyses["isolate"].failure is None
    for name in ("compress", "prune"):
        assert found.analyses[name] == Analysis(failure=Failure(stage=name, reason="its contexts cannot be compressed"))
    with pytest.raises(SubjectError, match="cannot be compressed"):
        run_icl(IclConfig(**{**vars(config), "analyses": ("compress", "prune")}))


def planted(attention: np.ndarray[Any, Any], chosen: list[int], draws: int = 1) -> Setting:
    """Of a model that chose these classes of its items, behind one draw of demonstrations after the other."""
    items = [IclItem(number, f"text {number}", 0) for number in range(len(chosen) // draws)]
    answers = Answers(np.eye(attention.shape[2])[chosen], np.ones(len(chosen)), np.zeros((len(chosen), 5), np.int64))
    cases = tuple(Case(item, draw, cast(Any, None)) for draw in range(draws) for item in items)
    drawn = Drawn(tuple(items), ((),) * draws, ((),) * draws)
    template = Template("{text} is:{label}\n", tuple("abcd"[: attention.shape[2]]))
    return Setting(cast(Any, None), template, drawn, cases, answers, 0, lambda *_: None)


def test_attention_that_foretells_in_one_layer_alone_has_all_of_the_excess() -> None:
    rng = np.random.default_rng(0)
    chosen = [int(each) for each in rng.integers(0, 3, 60)]
    attention = np.ones((60, 4, 3))
    attention[np.arange(60), 2, chosen] = 5.0
    found = foretelling(attention, planted(attention, chosen))
    assert [value(each).value for each in found.curves["auroc"].values] == pytest.approx([0.5, 0.5, 1, 0.5])
    assert [value(each).value for each in found.curves["cumulated"].values] == pytest.approx([0, 0, 1, 1])
    assert value(found.figures["auroc_late"]).value == pytest.approx(0.5)


def test_what_a_draw_of_demonstrations_does_to_all_of_its_answers_foretells_nothing() -> None:
    rng = np.random.default_rng(3)
    chosen = np.array([0] * 16 + [1] * 4 + [1] * 16 + [0] * 4)
    second = np.repeat([0.3, 0.7], 20) - 0.1 * (chosen - 0.5) + rng.normal(scale=0.05, size=40)
    attention = np.stack([1 - second, second], axis=1)[:, None].repeat(3, axis=1)
    assert roc_auc_score(chosen, second) > 0.7
    within = [roc_auc_score(chosen[part], second[part]) for part in (slice(0, 20), slice(20, 40))]
    found = foretelling(attention, planted(attention, chosen.tolist(), draws=2))
    assert value(found.figures["auroc_late"]).value == pytest.approx(np.mean(within))
    assert np.mean(within) < 0.3
    assert all(isinstance(each, Failure) for each in found.curves["cumulated"].values)


def test_attention_that_foretells_nothing_has_no_excess_to_share_out() -> None:
    chosen = [0, 1] * 20
    attention = np.ones((40, 3, 2))
    found = foretelling(attention, planted(attention, chosen))
    assert all(isinstance(each, Failure) for each in found.curves["cumulated"].values)
    assert [value(each).value for each in found.curves["auroc"].values] == [0.5] * 3
    one = foretelling(attention, planted(attention, [0] * 40))
    assert all(isinstance(each, Failure) for each in one.curves["auroc"].values)


def test_only_answers_that_have_a_part_in_an_auroc_are_counted() -> None:
    rng = np.random.default_rng(8)
    chosen = np.array([0] * 20 + [0, 1] * 10 + [0, 1, 2, 3] * 5)
    attention = rng.random((60, 3, 4)) + np.eye(4)[chosen][:, None]
    attention[20:22, 1] = 0.0  # of two answers no attention goes to labels in one layer
    found = foretelling(attention, planted(attention, chosen.tolist(), draws=3))
    counts = [value(each).n for each in found.curves["auroc"].values]
    assert counts == [40, 38, 40]
    assert {value(each).n for each in found.curves["cumulated"].values} == {38}
    assert value(found.figures["auroc_late"]).n == 40
    assert len(found.notes) == 3
    assert "1 of 3 draws, behind which one label alone is chosen (a)" in found.notes[0]
    assert "(c in 1, d in 1 of 3 draws)" in found.notes[1]
    assert "2 answers without a part in it in some layer" in found.notes[2]
    whole = foretelling(attention[40:], planted(attention[40:], chosen[40:].tolist()))
    assert ({value(each).n for each in whole.curves["auroc"].values}, whole.notes) == ({20}, [])


@pytest.mark.slow
@pytest.mark.replication
@pytest.mark.skipif("EXPLICATE_REPLICATION" not in os.environ, reason="EXPLICATE_REPLICATION does not name the folder of published data")
@pytest.mark.parametrize(("task", "file"), [("trec", "trec/TREC.train.all"), ("sst2", "sst2/stsa.binary.train")])
def test_the_papers_shapes(task: str, file: str) -> None:
    """Wang et al. 2023, figures 3 and 4: labels gather early and the answer takes from them late; isolating labels costs in the first
    layers and little in the last, where most answers and likeliest words stay, and costs more than isolating as many other tokens."""
    items = str(Path(os.environ["EXPLICATE_REPLICATION"]) / file)
    found = run_icl(IclConfig("smollm2-135m", task, items=items, n=16, seeds=2, device="cpu"))
    flow, isolate = found.analyses["flow"], found.analyses["isolate"].figures
    for name in ("wp_early_minus_late", "pq_late_minus_early", "pq_minus_wp_late", "pq_minus_ww_late"):
        assert value(flow.figures[name]).low > 0.2
    for form in ("", "_by_head"):
        wp, pq = ([value(each).value for each in flow.curves[f"{kind}{form}"].values] for kind in ("wp", "pq"))
        assert max(wp[:10]) > 0.5
        assert min(pq[-5:]) > 0.5
    for name in ("wp_early_minus_random", "pq_late_minus_random"):
        assert value(flow.figures[name]).low > 0
    for name in ("word_loyalty/labels/last_minus_first", "word_loyalty/first/random_minus_labels"):
        assert value(isolate[name]).low > 0.2
    for name in ("label_loyalty/labels/last", "word_loyalty/labels/last"):
        assert value(isolate[name]).low > 0.5
    assert not math.isclose(value(isolate["word_loyalty/labels/last"]).value, 1)
