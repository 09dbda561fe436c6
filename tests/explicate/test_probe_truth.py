"""`explicate probe truth` as a user gives it, on a decoder and on an encoder."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.probes.truth import run_truth
from evals.probes.truth_config import TruthConfig
from evals.probes.truth_results import Also, Causal, Histogram, Strength, TopicFound, Transfer, TruthProbed, TruthScored
from evals.probes.truth_saving import sharpness
from evals.results import Failure, Value
from explicate.commands.probe_truth import truth
from explicate.probe_words import told as told_value
from explicate.truth_words import short_names

BASELINES = {"layer0", "random_init", "shuffled", "majority", "bag_of_words", "log_probability"}
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
APP = typer.Typer()
APP.command()(truth)


@pytest.fixture(autouse=True)
def quick(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("analyzers.probes.truth.STEPS", 5)
    monkeypatch.setattr("evals.probes.truth_causal.DIRECTIONS", 3)
    monkeypatch.setattr("evals.probes.truth_intervals.EXCHANGES", 19)
    monkeypatch.setattr("evals.probes.truth_causal.ASKED", 16)


@pytest.fixture
def topics(workplace: Path) -> list[str]:
    """Two topics whose statements are true where they say so, and their negations."""
    rows = {"herons_tf": ("The heron", "in the town"), "otters_tf": ("The otter", "at the school")}
    for name, (who, where) in rows.items():
        lines = [f'"{who} number {n} {how} {where}.",{int(how == "surely runs")}' for n in range(30) for how in ("surely runs", "walks")]
        Path(f"{name}.csv").write_text("statement,label\n" + "\n".join(lines) + "\n", "utf-8")
    denied = [f'"The heron number {n} doesn\'t walk in the town.",1' for n in range(30)]
    denied += [f'"The heron number {n} walks in the town.",0' for n in range(2)]
    Path("neg_herons_tf.csv").write_text("statement,label\n" + "\n".join(denied) + "\n", "utf-8")
    return [f"{name}.csv" for name in rows]


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(APP, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_decoder_to_the_end(tiny_checkpoint: Callable[[str], Path], topics: list[str]) -> None:
    model = str(tiny_checkpoint("llama"))
    asked = (model, "--csv", ",".join(topics), "--also", "neg_herons_tf.csv", "--leave-topic-out", "--causal", "8", "--dtype", "float32")
    told = json.loads(call(*asked, "--json", "-o", "t.html", "--save", "d.safetensors").stdout)
    assert (told.pop("report"), told.pop("saved")) == ("t.html", "d.safetensors")
    found = TruthProbed.model_validate(told)
    assert (found.kind, found.main, found.left_out, found.pool, found.unit) == ("truth", "auroc", "topic", "last", "statements")
    assert [each.layer for each in found.layers] == [0, 1, 2, 3]
    assert found.items["statements"] == 120
    assert found.items["pairs"] == 30
    assert found.baselines.keys() == found.lifts.keys() == BASELINES
    # The last word is the same in true and false statements of a topic; words before it tell, so that context is needed.
    assert found.layers[0].metrics["auroc"].value == 0.5  # type: ignore[union-attr]
    words = found.baselines["bag_of_words"].metrics["auroc"]
    assert isinstance(words, Value)
    assert words.value == 1
    assert found.baselines["majority"].metrics["auroc"].value == 0.5  # type: ignore[union-attr]
    assert isinstance(found.baselines["log_probability"].metrics["accuracy"], Value)
    assert set(found.detectors) == {"logistic", "mass-mean", "mass-mean-iid", "saplma", "ccs"}
    assert {(each.train, each.test) for each in found.transfer} == {
        (a, b) for a in ("herons_tf", "otters_tf") for b in ("herons_tf", "otters_tf")
    }
    (also,) = found.also
    assert (also.name, also.statements, also.left_out, also.true, also.without) == ("neg_herons_tf", 30, 2, 30, "herons_tf")
    assert isinstance(also.auroc, Failure)
    assert isinstance(also.accuracy, Value)
    assert isinstance(found.causal, Causal)
    assert (found.causal.statements, len(found.causal.strengths)) == (8, 2)
    assert [sum(each.true) + sum(each.false) for each in found.projections] == [60, 60]
    assert set(found.calibration) == {"ece", "ece_floor", "brier", "overconfidence"}
    assert {"random_init", "mass_mean"} == set(found.curves)
    page = Path("t.html").read_text("utf-8")
    # The headline is what no statement that is scored has chosen the layer for, as the lifts are.
    nested = told_value(found.figures["nested_auroc"])
    assert f"At chosen layers, mostly {found.best}, the probe gets AUROC <b>{nested}</b>" in page
    for expected in ("From topic to topic", "Does the model use it?", "Statements of another form", 'class="heat"', 'class="reliability"'):
        assert expected in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    again = json.loads(call(*asked, "--json").stdout)
    assert again == told

    scored = TruthScored.model_validate_json(
        call(model, "--dtype", "float32", "--load", "d.safetensors", "--score", "The heron number 3 walks in the town.",
             "--score", "[b]Stone\x1b[2J, wool, iron and 1927 honey; markets!", "--json").stdout
    )  # fmt: skip
    assert (scored.topics, scored.left_out, len(scored.scored)) == (["herons_tf", "otters_tf"], "topic", 2)
    known, strange = scored.scored
    assert not known.outside
    assert strange.outside
    assert strange.farther_than == 1
    assert strange.distance > known.distance
    accuracy = found.figures["nested_accuracy"]
    assert isinstance(accuracy, Value)
    assert scored.error.value == pytest.approx(1 - accuracy.value)
    shown = call(model, "--dtype", "float32", "--load", "d.safetensors", "--score", "[b]Stone\x1b[2J, wool, iron and 1927 honey!").stdout
    assert "\x1b[2J" not in shown
    for expected in ("[b]Stone", "outside", "Share of wrong verdicts", "no known error rate"):
        assert expected in " ".join(shown.split())
    with pytest.raises(ExplicateError, match="cannot be used with"):
        call(str(tiny_checkpoint("qwen2")), "--dtype", "float32", "--load", "d.safetensors", "--score", "A.")
    with pytest.raises(ExplicateError, match="longer than the 1024 tokens"):
        call(model, "--dtype", "float32", "--load", "d.safetensors", "--score", "A.", "--score", "honey " * 1200)


def test_an_encoder_without_topics_left_out_and_the_table(tiny_checkpoint: Callable[[str], Path]) -> None:
    asked = (str(tiny_checkpoint("bert")), "--limit", "80", "--layers", "1,3", "--detector", "mass-mean", "--dtype", "float32")
    shown = " ".join(call(*asked).stdout.split())
    for expected in (
        "tested on statements of topics that were trained on",
        "small sample that comes with explicate",
        "few statements",
        "is an encoder, which answers no question",
        "trained on, tested on",
    ):
        assert expected in shown
    found = TruthProbed.model_validate_json(call(*asked, "--json").stdout)
    assert [each.layer for each in found.layers] == [0, 1, 3]
    assert (found.left_out, found.items["statements"], len(found.source)) == ("statements", 80, 4)
    assert isinstance(found.causal, Failure)
    # What an encoder cannot say is no baseline that it must lie above.
    assert found.lifts.keys() == BASELINES - {"log_probability"}
    assert isinstance(found.baselines["log_probability"].metrics["auroc"], Failure)
    assert set(found.curves) == {"random_init"}


def test_a_slow_detector_has_few_layers_and_every_step_tells_how_far_it_is(
    tiny_checkpoint: Callable[[str], Path], topics: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.probes.truth_held_out.FEW_LAYERS", 2)
    monkeypatch.setattr("evals.probes.truth_beside.FEW_SHUFFLES", 2)
    reached: dict[str, tuple[int, int]] = {}

    def report(what: str, done: int, total: int) -> None:
        reached[what] = (done, total)

    config = TruthConfig(str(tiny_checkpoint("llama")), tuple(topics), leave_topic_out=True, detector="saplma", causal=8, dtype="float32")
    found = run_truth(config, save=Path("d.safetensors"), report=report)
    chosen = {topic.layer for topic in found.topics}
    assert {each.layer for each in found.layers} == {0, 3} | chosen
    assert [each.layer for each in found.curves["logistic"]] == [each.layer for each in found.curves["mass_mean"]] == [0, 1, 2, 3]
    assert any("logistic regression chose the layers" in note for note in found.notes)
    assert found.baselines["shuffled"].metrics["auroc"].n == 2  # type: ignore[union-attr]
    assert {
        "read states",
        "train detectors, logistic: choose penalty",
        "train detectors, logistic: choose layers",
        "train detectors",
        "shuffled labels",
        "random weights",
        "bag of words",
        "likelihood of statements",
        "train mass-mean",
        "lifts",
        "detectors",
        "from topic to topic",
        "intervals",
        "add to states",
        "where training statements lie",
    } <= reached.keys()
    assert {what for what, (done, total) in reached.items() if done != total} == set()


def test_every_field_is_documented() -> None:
    rows = [line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate probe truth")]
    assert len(rows) == 2
    every = DOCUMENTED.split("### What every probe prints")[1].split("\n### ")[0]
    parts = (TruthProbed, TopicFound, Transfer, Also, Causal, Strength, Histogram)
    named = set(re.findall(r"`(\w+)`", rows[0] + every))
    assert {name for part in parts for name in part.model_fields} <= named
    named = set(re.findall(r"`(\w+)`", rows[1]))
    assert {*TruthScored.model_fields, *TruthScored.model_fields["scored"].annotation.__args__[0].model_fields} <= named  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--csv", "herons_tf.csv", "--leave-topic-out"], "trains on other topics, and --csv names a single file"),
        (["--csv", "herons_tf.csv,herons_tf.csv"], "2 times"),
        (["--csv", "none.csv"], r"there is no file 'none\.csv'"),
        (["--csv", "herons_tf.csv", "--also", "herons_tf.csv"], "is in --csv and in --also"),
        (["--detector", "oracle"], "--detector 'oracle' is none of logistic, mass-mean"),
        (["--csv", "herons_tf.csv,otters_tf.csv", "--limit", "9"], "true statements that can be read"),
        (["--layers", "9"], "layer"),
        (["--csv", "herons_tf.csv,otters_tf.csv", "--detector", "ccs"], "--detector ccs: CCS is trained on pairs"),
        (["-o", "t.pdf"], "name a file that ends with"),
        (["--save", "d.bin"], r"does not end with \.safetensors"),
        (["--save", "no/d.safetensors"], "in one that is not there"),
        (["--save", "mine.safetensors"], "is no detector, which alone is written over"),
        (["--score", "A."], "give its file with --load"),
        (["--load", "d.safetensors", "-o", "t.html"], "leave them out"),
        (["--load", "d.safetensors"], "--load scores statements"),
        (["--load", "d.safetensors", "--score", "."], "has no text"),
        (["--load", "d.safetensors", "--score", "A."], r"there is no file 'd\.safetensors'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tiny_checkpoint: Callable[[str], Path], topics: list[str], more: list[str], told: str) -> None:
    Path("mine.safetensors").write_text("mine")
    with pytest.raises(ExplicateError, match=told) as error:
        call(str(tiny_checkpoint("llama")), "--dtype", "float32", *more)
    assert "\n" not in str(error.value)


def test_names_lose_what_they_all_end_with() -> None:
    assert short_names(["cities_true_false", "neg_facts_true_false"]) == {
        "cities_true_false": "cities",
        "neg_facts_true_false": "neg_facts",
    }
    assert short_names(["a_b", "c"]) == {"a_b": "a_b", "c": "c"}
    assert short_names(["a_b"]) == {"a_b": "a_b"}
    assert list(short_names(["x_1_2", "y_2"]).values()) == ["x_1", "y"]


def test_timid_log_odds_are_sharpened_to_what_they_are() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=20_000)
    true = rng.random(20_000) < 1 / (1 + np.exp(-odds))
    assert sharpness(odds / 50, true) == pytest.approx(50, rel=0.06)
    assert sharpness(-odds, true) == 1
    assert sharpness(np.where(true, 1.0, -1.0), true) == 1
